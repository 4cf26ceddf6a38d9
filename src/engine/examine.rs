//! What Podman says of itself, its host and its storage: for `podgate doctor`, which has the time to wait.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use super::{Deadline, Engine};
use crate::domain::Result;
use crate::policy::grant::SystemGrant;

/// How long Podman may take to answer one of these questions.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a host's Podman is set up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// Of Podman.
    pub version: String,
    /// Whether it runs as another user than root.
    pub rootless: bool,
    /// `v1` or `v2`.
    pub cgroups: String,
    /// `cgroupfs` or `systemd`.
    pub cgroup_manager: String,
    /// What can be bounded.
    pub controllers: Vec<String>,
    /// Name of the program that starts containers.
    pub runtime: String,
    /// `netavark` or `cni`.
    pub network: String,
    /// Whether system calls can be filtered.
    pub seccomp: bool,
    /// Driver of the storage, such as `overlay`.
    pub storage: String,
    /// Where images and containers are, as Podman's host sees it.
    pub storage_root: String,
    /// Options of the mounts of containers' roots, separated by commas; overlay's only.
    pub mount_options: String,
}

#[derive(Deserialize)]
struct Info {
    host: Host,
    store: Storage,
    version: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Host {
    #[serde(default)]
    cgroup_version: String,
    #[serde(default)]
    cgroup_manager: String,
    #[serde(default)]
    cgroup_controllers: Option<Vec<String>>,
    #[serde(default)]
    network_backend: String,
    oci_runtime: Runtime,
    security: Security,
}

#[derive(Deserialize)]
struct Runtime {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Security {
    rootless: bool,
    #[serde(default)]
    seccomp_enabled: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Storage {
    graph_driver_name: String,
    graph_root: String,
    #[serde(default)]
    graph_options: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Version {
    version: String,
}

fn mount_options(options: BTreeMap<String, Value>) -> Option<String> {
    Some(options.get("overlay.mountopt")?.as_str()?.to_owned())
}

impl Engine {
    /// Asks Podman how it is set up. Hangs, to its deadline, while any container of the host is wedged.
    pub async fn examine(&self, _grant: &SystemGrant) -> Result<Examined> {
        let ask = async { self.wire.get("/v4.0.0/libpod/info").await?.checked()?.json::<Info>() };
        let Info { host, store, version } = Deadline::after(PATIENCE).bound(ask).await?;
        Ok(Examined {
            version: version.version,
            rootless: host.security.rootless,
            cgroups: host.cgroup_version,
            cgroup_manager: host.cgroup_manager,
            controllers: host.cgroup_controllers.unwrap_or_default(),
            runtime: host.oci_runtime.name,
            network: host.network_backend,
            seccomp: host.security.seccomp_enabled,
            storage: store.graph_driver_name,
            storage_root: store.graph_root,
            mount_options: store.graph_options.and_then(mount_options).unwrap_or_default(),
        })
    }
}
