//! What a container may be: typed, and all of it. The engine writes Podman's spec from this and nothing else.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::domain::{
    ContainerLimits, Directory, Environment, ExecUser, ImageRef, Labels, Mount, MountSource, NetworkMode, PullPolicy,
    WantedPort, Words,
};

/// How many host ids a tenant gets: one for each that a container can have in 16 bits, as files on disk do.
pub const USER_IDS: u32 = 65_536;

/// An admitted container.
#[derive(Debug, Clone)]
pub struct ContainerSpec {
    /// On the tenant's list.
    pub image: ImageRef,
    /// How far to go to get it.
    pub pull: PullPolicy,
    /// Instead of the image's CMD.
    pub command: Option<Words>,
    /// Instead of the image's ENTRYPOINT.
    pub entrypoint: Option<Words>,
    /// Added to the image's.
    pub environment: Environment,
    /// Instead of the image's WORKDIR.
    pub workdir: Option<Directory>,
    /// Instead of the image's USER.
    pub user: Option<ExecUser>,
    /// The tenant's own.
    pub labels: Labels,
    /// Ports on `port_address`.
    pub ports: Vec<WantedPort>,
    /// Volumes and shares.
    pub mounts: Vec<Mount>,
    /// Where host ports are chosen from.
    pub auto_ports: Vec<RangeInclusive<u16>>,
    /// Where ports are bound on the host.
    pub port_address: IpAddr,
    /// The profile it was admitted under.
    pub profile: String,
    /// Always set.
    pub limits: ContainerLimits,
    /// Beyond the lean set.
    pub capabilities: Vec<String>,
    /// Where it can reach.
    pub network: NetworkMode,
    /// Whether what it writes outside of volumes survives a power cut.
    pub durable: bool,
    /// First host id of its tenant's 65,536; none without user namespaces.
    pub first_user_id: Option<u32>,
    /// When it goes by itself.
    pub expires_in: Option<Duration>,
    /// How long after its last use it goes by itself.
    pub idle: Option<Duration>,
    /// Whether its standard input is open.
    pub stdin: bool,
    /// Whether it runs at once.
    pub start: bool,
}

impl ContainerSpec {
    /// The volumes among its mounts, by our identifier.
    pub fn volume_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = Vec::new();
        for mount in &self.mounts {
            if let MountSource::Volume(id) = &mount.source
                && !ids.contains(&id.as_str())
            {
                ids.push(id);
            }
        }
        ids
    }
}
