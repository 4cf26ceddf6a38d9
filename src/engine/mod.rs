//! The only place that talks to Podman. Takes grants and full ids; never sees a name from a request.
//!
//! | call | through | why |
//! |---|---|---|
//! | ping, start, remove, logs, exec create/start/inspect, archive get, network create, list by label | podman-api | right as measured |
//! | create | [`wire`] | podman-api 0.11 misspells `no_new_privileges`; and the spec is ours, typed |
//! | stop | [`wire`] | podman-api sends `Timeout=`, Podman reads `timeout=` |
//! | inspect | [`wire`] | podman-api asks for `size=true` (200 ms on a full layer) and its types break on Podman 5 |
//! | archive stat and put | [`wire`] | podman-api can't set `noOverwriteDirNonDir`, without which a file replaces a directory |
//! | image inspect | [`wire`] | its types are stricter than two versions of Podman |
//!
//! Short calls run on [`Workers`], shared fairly among tenants. Long ones (exec, stop, logs, files) have a bound of
//! their own for each tenant. Every call ends at its [`Deadline`].

mod containers;
mod deadline;
mod exec;
mod failure;
mod files;
mod images;
mod lanes;
mod logs;
mod networks;
mod spec;
mod wire;
mod workers;

use std::path::Path;
use std::time::Duration;

use podman_api::Podman;

use crate::config;
use crate::domain::{Result, Tenant, World};

pub use containers::{Labelled, Status};
pub use deadline::Deadline;
pub use exec::{Ended, ExecRequest, Execution};
pub use files::FileWrite;
pub use images::Image;
pub use logs::{LogRequest, Logs};
pub use spec::Identity;

use lanes::Lanes;
use wire::Wire;
use workers::Workers;

/// How long a health check waits for Podman.
const PING_PATIENCE: Duration = Duration::from_secs(2);

/// A handle on one Podman; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    podman: Podman,
    wire: Wire,
    workers: Workers,
    long: Lanes,
    request_timeout: Duration,
    output_bytes: usize,
    logs_bytes: usize,
    world: World,
}

impl Engine {
    /// A client of the socket that the configuration names. Nothing is sent yet.
    pub fn new(engine: &config::Engine, containers: &config::Containers, world: World) -> Self {
        let socket: &Path = &engine.socket;
        Self {
            podman: Podman::unix(socket),
            wire: Wire::new(socket.to_owned()),
            workers: Workers::new(engine.max_workers),
            long: Lanes::new(engine.long_calls_per_tenant),
            request_timeout: engine.request_timeout,
            output_bytes: containers.exec_output_bytes,
            logs_bytes: containers.logs_bytes,
            world,
        }
    }

    /// The deadline of an operation that begins now.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.request_timeout)
    }

    /// Whether Podman answers.
    pub async fn ping(&self) -> Result<()> {
        let ping = async { self.podman.ping().await.map(drop).map_err(failure::of_client) };
        Deadline::after(PING_PATIENCE).bound(ping).await
    }

    /// Workers that are busy, and workers in all.
    pub fn usage(&self) -> (usize, usize) {
        self.workers.usage()
    }

    /// A short call on behalf of a tenant.
    async fn short<T>(&self, tenant: &Tenant, deadline: Deadline, call: impl Future<Output = Result<T>>) -> Result<T> {
        let placed = async {
            let _place = self.workers.enter(&tenant.id).await?;
            call.await
        };
        deadline.bound(placed).await
    }
}
