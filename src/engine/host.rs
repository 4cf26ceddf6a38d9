//! What Podman's host can enforce. Asked once it can be reached, never on a request's path: a wedged container hangs the
//! question.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde::Deserialize;

use super::{Deadline, Engine};
use crate::domain::Result;
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
}

impl Default for Host {
    fn default() -> Self {
        Self { user_namespaces: true, memory: true, cpu: true, pids: true }
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
        ];
        all.into_iter().filter(|(able, _)| !able).map(|(_, what)| what).collect()
    }
}

/// What was last learnt, shared by all handles on one engine.
#[derive(Clone, Default)]
pub(super) struct Known(Arc<RwLock<Host>>);

impl Known {
    pub(super) fn get(&self) -> Host {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, host: Host) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = host;
    }
}

#[derive(Deserialize)]
struct Info {
    host: InfoHost,
}

#[derive(Deserialize)]
struct InfoHost {
    #[serde(rename = "cgroupControllers", default)]
    controllers: Option<Vec<String>>,
    security: InfoSecurity,
}

#[derive(Deserialize)]
struct InfoSecurity {
    rootless: bool,
}

impl Engine {
    /// Asks the host what it can enforce, and lets later creates ask for no more.
    pub async fn learn_host(&self, grant: &SystemGrant) -> Result<Host> {
        let SystemGrant { .. } = grant;
        let ask = async { self.wire.get("/v4.0.0/libpod/info").await?.checked() };
        let info: Info = Deadline::after(PATIENCE).bound(ask).await?.json()?;
        let host = if info.host.security.rootless {
            // A rootless service has the controllers that were delegated to its user, and one user's ids.
            let controllers = info.host.controllers.unwrap_or_default();
            let has = |name: &str| controllers.iter().any(|controller| controller == name);
            Host { user_namespaces: false, memory: has("memory"), cpu: has("cpu"), pids: has("pids") }
        } else {
            Host::default()
        };
        self.host.set(host);
        Ok(host)
    }
}
