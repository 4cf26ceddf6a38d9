//! Parsed types and the one error. Nothing here knows HTTP, SQL, Podman, the clock or the environment.
//!
//! A value of a type from here has been checked: code behind the boundary never checks a name twice.

pub mod archive;
mod attempt;
mod budget;
mod cgroup;
mod command;
mod condition;
mod environment;
mod error;
mod event;
mod file;
mod hex;
mod image;
mod labels;
mod limits;
mod log_position;
mod measured;
mod names;
mod path;
mod patience;
mod port;
mod principal;
mod signal;
mod timestamp;
mod user;
mod utf8;
mod volume;
mod world;

pub use attempt::{Attempt, IdempotencyKey};
pub use budget::Budget;
pub use cgroup::{CgroupManager, CgroupParent};
pub use command::{CommandLine, Words};
pub use condition::{Part, Tags};
pub use environment::Environment;
pub use error::{Detail, Details, Error, Kind, Result, shortened};
pub use event::EventKind;
pub use file::{FileEntry, FileInfo, FileKind, FileMode, FileOwner, FileTime, FileVersion};
pub use hex::hex;
pub use image::{ImagePattern, ImageRef, ImageRequest, PullPolicy};
pub use labels::{Labels, WantedLabel};
pub use limits::{ContainerLimits, NetworkMode, Resource, TenantLimit};
pub use log_position::LogPosition;
pub use measured::Measured;
pub use names::{AccountName, ContainerName, EngineId, Login, TenantSlug};
pub use path::{ContainerPath, Directory, TreePath};
pub use patience::patience;
pub use port::{PublishedPort, WantedPort, ports_without};
pub use principal::{Principal, Role, Scope, Tenant};
pub use signal::Signal;
pub use timestamp::{parse_timestamp_ms, timestamp, timestamp_ms};
pub use user::{ExecUser, Password, Shell, Username};
pub use utf8::Beginning;
pub use volume::{Mount, MountSource, MountTarget, VolumeName, WantedMount};
pub use world::World;
