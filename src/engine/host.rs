//! What Podman's host can enforce. Asked once it can be reached, never on a request's path: a wedged container hangs the
//! question.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use super::{Deadline, Engine};
use crate::domain::{CgroupManager, Kind, Result, Tenant};
use crate::policy::grant::SystemGrant;

/// How long the question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What can be enforced. Until the host was asked, everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Tenants can have user ids of their own.
    pub user_namespaces: bool,
    /// Memory can be bounded.
    pub memory: bool,
    /// CPU time can be bounded.
    pub cpu: bool,
    /// The number of processes can be bounded.
    pub pids: bool,
    /// Podman can read the seccomp profile. It makes nothing without.
    pub seccomp: bool,
    /// Who makes control groups; none where it is not known, or they are one user's (rootless).
    pub cgroup_manager: Option<CgroupManager>,
}

impl Default for Host {
    fn default() -> Self {
        Self { user_namespaces: true, memory: true, cpu: true, pids: true, seccomp: true, cgroup_manager: None }
    }
}

impl Host {
    /// What cannot be enforced, in words.
    pub fn lacks(self) -> Vec<&'static str> {
        let all = [
            (self.user_namespaces, "user namespaces of each tenant's own"),
            (self.memory, "memory limits"),
            (self.cpu, "CPU limits"),
            (self.pids, "process limits"),
            (self.seccomp, "the seccomp profile, which Podman cannot read: no container is made until it can"),
        ];
        all.into_iter().filter(|(able, _)| !able).map(|(_, what)| what).collect()
    }
}

/// What was last learnt, shared by all handles on one engine.
#[derive(Clone, Default)]
pub(super) struct Known {
    host: Arc<RwLock<Host>>,
    /// Whether it was the host's answer.
    is_told: Arc<AtomicBool>,
}

impl Known {
    pub(super) fn get(&self) -> Host {
        *self.host.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Host)) {
        change(&mut self.host.write().unwrap_or_else(PoisonError::into_inner));
    }
}

#[derive(Deserialize)]
struct Info {
    host: InfoHost,
}

#[derive(Deserialize)]
struct InfoHost {
    #[serde(rename = "cgroupManager", default)]
    manager: String,
    #[serde(rename = "cgroupControllers", default)]
    controllers: Option<Vec<String>>,
    security: InfoSecurity,
}

#[derive(Deserialize)]
struct InfoSecurity {
    rootless: bool,
}

impl Info {
    /// Cgroups v1 and v2 name these controllers alike. Of a rootless service, one that is not named was not delegated to
    /// its user; of root's, one is missing where Podman names others.
    fn write_to(&self, host: &mut Host) {
        let InfoHost { manager, controllers, security } = &self.host;
        let controllers = controllers.as_deref().unwrap_or_default();
        let all = controllers.is_empty() && !security.rootless;
        let has = |name: &str| all || controllers.iter().any(|controller| controller == name);
        (host.memory, host.cpu, host.pids) = (has("memory"), has("cpu"), has("pids"));
        // A rootless service has one user's ids.
        host.user_namespaces = !security.rootless;
        host.cgroup_manager = CgroupManager::parse(manager).filter(|_| !security.rootless);
    }
}

impl Engine {
    /// Whether the host said what it can enforce. It is asked until it does: a wedged container keeps it silent.
    pub fn knows_host(&self) -> bool {
        self.host.is_told.load(Ordering::Relaxed)
    }

    /// It may be another one by now.
    pub fn doubt_host(&self) {
        self.host.is_told.store(false, Ordering::Relaxed);
    }

    /// Asks the host what it can enforce, and lets later creates ask for no more.
    pub async fn learn_host(&self, _grant: &SystemGrant) -> Result<Host> {
        let ask = async { self.wire.get("/v4.0.0/libpod/info").await?.checked() };
        let info: Info = Deadline::after(PATIENCE).bound(ask).await?.json()?;
        self.host.change(|host| info.write_to(host));
        self.host.is_told.store(true, Ordering::Relaxed);
        if !self.cgroups.as_deref().is_none_or(|parent| parent.fits(CgroupManager::parse(&info.host.manager))) {
            let found = info.host.manager;
            tracing::error!(found, "engine.cgroup_parent is not for Podman's manager of cgroups: nothing is made");
        }
        Ok(self.host.get())
    }

    /// The control group for what is the tenant's; none where Podman chooses.
    pub(super) fn cgroup_of(&self, tenant: &Tenant) -> Option<String> {
        self.cgroups.as_deref()?.of(&tenant.slug, self.host.get().cgroup_manager)
    }

    /// Tries whether Podman can read the seccomp profile: by a create that fails either way, on a root directory that no
    /// host has. Podman reads the profile before it looks for that (4.3.1 and 5.4.2).
    pub async fn probe_seccomp(&self, _grant: &SystemGrant) -> Result<bool> {
        let body = json!({
            "rootfs": "/nonexistent/podgate-probe",
            "command": ["/probe"],
            "work_dir": "/",
            "netns": {"nsmode": "none"},
            "seccomp_profile_path": &*self.seccomp_path,
        });
        let ask = self.wire.post_json("/v4.0.0/libpod/containers/create", &body);
        let refusal = Deadline::after(PATIENCE).bound(ask).await?.refusal();
        let readable = refusal.kind != Kind::EngineDown;
        self.host.change(|host| host.seccomp = readable);
        Ok(readable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(info: &str) -> Host {
        let mut host = Host::default();
        serde_json::from_str::<Info>(info).unwrap().write_to(&mut host);
        host
    }

    #[test]
    fn both_kinds_of_cgroups_are_understood() {
        // As 4.3.1 and 5.4.2 answer on v1, and Podman on v2; as root, rootless with and without delegation.
        let v1 = r#"{"host": {"cgroupVersion": "v1", "security": {"rootless": false}, "cgroupControllers":
            ["cpuset", "cpu", "cpuacct", "blkio", "memory", "devices", "freezer", "pids"]}}"#;
        let v2 = r#"{"host": {"cgroupVersion": "v2", "security": {"rootless": false}, "cgroupControllers":
            ["cpuset", "cpu", "io", "memory", "hugetlb", "pids", "rdma", "misc"]}}"#;
        let unsaid = r#"{"host": {"security": {"rootless": false}, "cgroupControllers": null}}"#;
        for info in [v1, v2, unsaid] {
            assert_eq!(learnt(info), Host::default(), "{info}");
        }
        let lacking = r#"{"host": {"security": {"rootless": false}, "cgroupControllers": ["cpu", "pids"]}}"#;
        assert_eq!(learnt(lacking).lacks(), ["memory limits"]);
        let delegated = r#"{"host": {"security": {"rootless": true}, "cgroupControllers": ["memory", "pids"]}}"#;
        assert_eq!(learnt(delegated).lacks(), ["user namespaces of each tenant's own", "CPU limits"]);
        let alone = r#"{"host": {"security": {"rootless": true}}}"#;
        assert_eq!(learnt(alone).lacks().len(), 4);
    }
}
