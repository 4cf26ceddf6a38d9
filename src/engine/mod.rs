//! The only place that talks to Podman. Takes grants and full ids; never sees a name from a request.
//!
//! | call | through | why |
//! |---|---|---|
//! | ping, start, pause, unpause, kill, remove, archive get, networks, volumes, pull | podman-api | right as measured |
//! | create | [`wire`] | podman-api 0.11 misspells `no_new_privileges`; and the spec is ours, typed |
//! | stop, mount, unmount | [`wire`] | podman-api sends `Timeout=` and `t=`, Podman reads `timeout=` |
//! | init, image exists and import, visitors | [`wire`] | one way for what belongs together |
//! | inspect | [`wire`] | podman-api asks for `size=true` (200 ms on a full layer) and its types break on Podman 5 |
//! | info, disk use | [`wire`] | its types are stricter than two versions of Podman |
//! | exec | [`wire`] | podman-api's stream has no half of its own to end and keeps what is said |
//! | archive stat and put | [`wire`] | podman-api can't set `noOverwriteDirNonDir`, without which a file replaces a directory |
//! | image inspect, lists of containers, images, networks and volumes | [`wire`] | its types are stricter than two versions of Podman |
//! | logs, stats | [`wire`] | podman-api parses stats by chunks, which breaks past 8 KiB |
//! | attach | [`wire`] | podman-api waits for whole frames, however long |
//! | events | [`wire`] | podman-api doesn't tell when the stream stands, before which nothing that was seen counts |
//!
//! Short calls run on [`Workers`], of which no tenant has more than half, and one at a time for each container. Long
//! ones (stop, logs, files) have a bound of their own for each tenant, and so have those that start processes (create,
//! start, remove, exec), which would keep every core busy. Every call ends at its [`Deadline`].

mod account_files;
mod agent;
mod annotations;
mod attach;
mod capabilities;
mod containers;
mod create;
mod deadline;
mod events;
mod examine;
mod exec;
mod failure;
mod files;
mod follow;
mod frames;
mod hijack;
mod host;
mod ids;
mod images;
mod index;
mod install;
mod lanes;
mod live;
mod logs;
mod mounted;
mod networks;
mod plain;
mod processes;
mod pull;
mod room;
mod said;
mod spec;
mod start;
mod state;
mod stats;
mod stored;
mod supervised;
mod volumes;
mod wedged;
mod wire;
mod workers;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use podman_api::Podman;

use crate::config;
use crate::domain::{CgroupParent, EngineId, Kind, Result, Tenant, World};
use crate::metrics::Metrics;
use crate::policy::grant::ContainerGrant;

pub use agent::Installer;
pub use attach::{Attached, Input};
pub use containers::{Labelled, Status};
pub use deadline::Deadline;
pub use examine::Examined;
pub use exec::{Ended, ExecRequest, Execution};
pub use failure::is_port_taken;
pub use files::{ChangingFiles, Expected, FileWrite, Files, Listing, Survey, Target, Unpacked, cut};
pub use follow::{Followed, LogPiece, LogStart};
pub use frames::Output;
pub use host::Host;
pub use images::Image;
pub use lanes::Lane;
pub use live::{Exit, Live, LiveExec, LiveInput, LiveOutput, Size, TerminalRequest, Told};
pub use logs::{LogRequest, Logs};
pub use processes::Processes;
pub use pull::{PullProgress, PullStep, not_pulled};
pub use room::no_room;
pub use said::{Reading, Said};
pub use spec::Identity;
pub use stats::Sample;

use index::Index;
use lanes::Lanes;
use wedged::Wedged;
use wire::Wire;
use workers::Workers;

/// How often a call is tried again while Podman is busy with the same thing, and after how long, doubled each time.
const BUSY_TRIES: u32 = 6;
const BUSY_PAUSE: Duration = Duration::from_millis(30);

/// How many calls that start processes one tenant may have in Podman at once: each keeps a core busy, and half of the
/// cores are the others'. Two at least, for one that hangs must not stop the tenant's others.
fn heavy_calls() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (cores / 2).max(2)
}

/// How long a container that did not answer before gets to answer now.
const PROBE_PATIENCE: Duration = Duration::from_secs(5);

/// How long a health check waits for Podman.
const PING_PATIENCE: Duration = Duration::from_secs(2);

/// A handle on one Podman; cheap to clone.
#[derive(Clone)]
pub struct Engine {
    podman: Podman,
    wire: Wire,
    workers: Workers,
    pulls: Workers,
    images: images::OnHost,
    good_images: account_files::GoodImages,
    pull_patience: Duration,
    room: room::Room,
    long: Lanes,
    heavy: Lanes,
    transfers: Lanes,
    wedged: Wedged,
    network_removals: Wedged<()>,
    index: Index,
    host: host::Known,
    request_timeout: Duration,
    seccomp_path: Arc<Path>,
    cgroups: Option<Arc<CgroupParent>>,
    logs_bytes: usize,
    agent: Option<agent::Program>,
    metrics: Metrics,
    installation: Arc<str>,
    gateway: Arc<str>,
    visits: files::Visits,
    world: World,
}

impl Engine {
    /// A client of the socket that the configuration names. Nothing is sent yet.
    pub fn new(
        engine: &config::Engine,
        images: &config::Images,
        output: &config::Output,
        agent: &Path,
        metrics: Metrics,
        installation: &str,
        world: World,
    ) -> Self {
        let socket: &Path = &engine.socket;
        Self {
            podman: Podman::unix(socket),
            wire: Wire::new(socket.to_owned(), metrics.clone()),
            workers: Workers::new(engine.max_workers, metrics.queue("workers")),
            pulls: Workers::new(images.pulls, metrics.queue("pulls")),
            images: images::OnHost::default(),
            good_images: account_files::GoodImages::default(),
            pull_patience: images.pull_patience,
            room: room::Room::of(images.keep_free_bytes),
            long: Lanes::of_callers(engine.long_calls_per_tenant, metrics.queue("long")),
            heavy: Lanes::of_podman(heavy_calls(), metrics.queue("heavy")),
            transfers: Lanes::of_callers(engine.transfers_per_tenant, metrics.queue("transfers")),
            wedged: Wedged::default(),
            network_removals: Wedged::default(),
            index: Index::default(),
            host: host::Known::default(),
            request_timeout: engine.request_timeout,
            seccomp_path: engine.seccomp_path.as_path().into(),
            cgroups: engine.cgroup_parent.clone().map(Arc::new),
            logs_bytes: output.logs_bytes,
            agent: agent::Program::read(agent)
                .inspect_err(|error| tracing::warn!(path = ?agent, %error, "no agent: commands in new containers are not supervised"))
                .ok(),
            metrics,
            installation: installation.into(),
            gateway: "".into(),
            visits: files::Visits::default(),
            world,
        }
    }

    /// As this gateway's, which answers for the visitors that it sends.
    pub fn of_gateway(self, gateway: &str) -> Self {
        Self { gateway: gateway.into(), ..self }
    }

    /// The deadline of an operation that begins now.
    pub fn deadline(&self) -> Deadline {
        Deadline::after(self.patience())
    }

    /// How long an operation may take.
    pub fn patience(&self) -> Duration {
        self.request_timeout
    }

    /// Whether Podman answers.
    pub async fn ping(&self) -> Result<()> {
        let ping = async { self.podman.ping().await.map(drop).map_err(failure::of_client) };
        Deadline::after(PING_PATIENCE).bound(self.timed("GET _ping", ping)).await
    }

    /// What Podman's host can enforce, as far as is known.
    pub fn host(&self) -> Host {
        self.host.get()
    }

    /// Has a container looked at again, soon.
    pub fn look_again(&self, id: &EngineId) {
        self.index.heard_of(id.clone(), false);
    }

    /// Places of each queue that has a fixed number of them, under the names of their metrics.
    pub fn queue_sizes(&self) -> Vec<(&'static str, usize)> {
        vec![("workers", self.workers.usage().1), ("pulls", self.pulls.usage().1)]
    }

    /// How many containers did not answer the last call.
    pub fn wedged(&self) -> usize {
        self.wedged.count()
    }

    /// Whether Podman's events are heard.
    pub fn hears_events(&self) -> bool {
        self.index.is_listening()
    }

    /// A call of podman-api, timed; [`Wire`] times its own.
    async fn timed<T>(&self, call: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.metrics.podman_call(call, work).await
    }

    /// Workers that are busy, and workers in all.
    pub fn usage(&self) -> (usize, usize) {
        self.workers.usage()
    }

    /// Tries again a few times while Podman is in the middle of something else.
    async fn patiently<T, F: Future<Output = Result<T>>>(&self, call: impl Fn() -> F) -> Result<T> {
        let mut tries = 0;
        loop {
            match call().await {
                Err(error) if error.kind == Kind::Busy && tries < BUSY_TRIES => {
                    tries += 1;
                    tracing::debug!(?error, tries, "Podman is busy; trying again");
                    tokio::time::sleep(BUSY_PAUSE * 2_u32.pow(tries)).await;
                }
                other => return other,
            }
        }
    }

    /// Before a call that waits long, or that does harm when it hangs: a container that did not answer the last call has
    /// to answer a look first.
    async fn answering(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<()> {
        if !self.wedged.is_marked(grant.engine_id()) {
            return Ok(());
        }
        self.status(grant, deadline.within(PROBE_PATIENCE)).await.map(drop)
    }

    /// Learns from a call's outcome whether Podman answers for the container. Where Podman answers for nothing at all,
    /// that is not the container's doing.
    fn learn<T>(&self, id: &EngineId, outcome: &Result<T>) {
        self.wedged.learn(id, outcome);
        if self.wedged.is_marked(id) {
            let (engine, id) = (self.clone(), id.clone());
            tokio::spawn(async move {
                if engine.ping().await.is_err() {
                    engine.wedged.forgive(&id);
                }
            });
        }
    }

    /// A short call that changes one container, in its turn.
    async fn change<T>(
        &self,
        grant: &ContainerGrant,
        deadline: Deadline,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _touched = self.touching(grant);
        let outcome = self.on(grant, deadline, call).await;
        self.in_its_state(grant, outcome).await
    }

    /// What was seen of the container does not count; what is seen before this is dropped will not count then.
    fn touching(&self, grant: &ContainerGrant) -> Touching<'_> {
        self.index.touch(grant.engine_id());
        Touching { index: &self.index, id: grant.engine_id().clone() }
    }

    /// A short call on one container, in its turn.
    async fn on<T>(
        &self,
        grant: &ContainerGrant,
        deadline: Deadline,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let _turn = self.wedged.turn(grant.engine_id(), deadline).await?;
        // The turn before the place: calls that queue for one container must not hold places.
        let _place = deadline.bound(self.workers.enter(&grant.tenant().id)).await?;
        let outcome = deadline.bound(call).await;
        self.learn(grant.engine_id(), &outcome);
        outcome
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

/// A container that is being changed.
struct Touching<'a> {
    index: &'a Index,
    id: EngineId,
}

impl Drop for Touching<'_> {
    fn drop(&mut self) {
        self.index.touch(&self.id);
    }
}
