//! Parsed types and the one error. Nothing here knows HTTP, SQL, Podman, the clock or the environment.
//!
//! A value of a type from here has been checked: code behind the boundary never checks a name twice.

mod command;
mod error;
mod image;
mod names;
mod path;
mod principal;
mod user;
mod world;

pub use command::{CommandLine, Words};
pub use error::{Detail, Details, Error, Kind, Result};
pub use image::{ImageRef, ImageRequest};
pub use names::{AccountName, ContainerName, EngineId, Login, TenantSlug};
pub use path::ContainerPath;
pub use principal::{Principal, Role, Scope, Tenant};
pub use user::{ExecUser, Password, Shell, Username};
pub use world::World;
