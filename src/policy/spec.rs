//! What a container may be: typed, and all of it. The engine writes Podman's spec from this and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::domain::{ExecUser, ImageRef, Words};
use crate::store::PublishedPort;

/// An admitted container.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// On the tenant's list.
    pub image: ImageRef,
    /// Instead of the image's CMD.
    pub command: Option<Words>,
    /// Instead of the image's ENTRYPOINT.
    pub entrypoint: Option<Words>,
    /// Added to the image's.
    pub environment: BTreeMap<String, String>,
    /// Instead of the image's WORKDIR.
    pub workdir: Option<String>,
    /// Instead of the image's USER.
    pub user: Option<ExecUser>,
    /// The tenant's own, none under a reserved prefix.
    pub labels: BTreeMap<String, String>,
    /// Ports on `port_address`.
    pub ports: Vec<PublishedPort>,
    /// Where ports are bound on the host.
    pub port_address: IpAddr,
    /// Always set.
    pub limits: ContainerLimits,
    /// Whether it runs at once.
    pub start: bool,
}

/// Bounds of one container (SECURITY rules 26, 27).
#[derive(Debug, Clone, Copy)]
pub struct ContainerLimits {
    /// Bytes, swap included.
    pub memory_bytes: i64,
    /// Processes.
    pub pids: i64,
    /// CPUs.
    pub cpus: f64,
    /// File descriptors of a process.
    pub open_files: u64,
    /// Bytes of log kept on disk.
    pub log_bytes: i64,
}
