//! Whatever takes several steps over the store and the engine.
//!
//! Each step may be repeated, and each point at which the program may die is named ([`FailPoint`]). What is begun goes
//! on when the caller leaves: a half-made container is nobody's wish.

mod attach;
mod create;
mod events;
mod exec;
mod fail_point;
mod live;
mod measure;
mod pulls;
mod reconcile;
mod remove;
mod rows;
mod run;
mod tenants;
mod turns;
mod upkeep;
mod users;
mod volumes;
mod watch;
mod within;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_util::task::TaskTracker;

use crate::domain::{Error, Kind, Result};
use crate::engine::{Deadline, Engine};
use crate::policy::grant::ContainerGrant;
use crate::store::{Container, Entry, Outcome, Store};

pub use attach::Use;
pub use create::CreatedContainer;
pub use events::Heard;
pub use fail_point::FailPoint;
pub use pulls::Pull;
pub use reconcile::{Reconciled, Strays};
pub use users::NewUser;
pub use within::{ROUND, within};

use rows::{Claim, Claims, Counted, Counts, lock};

/// Runs the steps.
#[derive(Clone)]
pub struct Lifecycle {
    store: Store,
    engine: Engine,
    installation: Arc<str>,
    fail_point: FailPoint,
    tasks: TaskTracker,
    claims: Claims,
    unsettled: Arc<Notify>,
    alone: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    used: Counts,
    changing: Counts,
    listeners: events::Listeners,
    vanished: Arc<Mutex<HashSet<String>>>,
    pulls: pulls::Pulls,
    announced: upkeep::Announced,
    doubts: measure::Doubts,
    own_ports: Arc<BTreeSet<u16>>,
}

impl Lifecycle {
    /// Over this store and this engine. No container is started that has one of the gateway's ports.
    pub fn new(
        store: Store,
        engine: Engine,
        installation: String,
        fail_point: FailPoint,
        own_ports: BTreeSet<u16>,
    ) -> Self {
        Self {
            store,
            engine,
            installation: installation.into(),
            fail_point,
            tasks: TaskTracker::new(),
            claims: Claims::default(),
            unsettled: Arc::default(),
            alone: Arc::default(),
            used: Counts::default(),
            changing: Counts::default(),
            listeners: events::Listeners::default(),
            vanished: Arc::default(),
            pulls: pulls::Pulls::default(),
            announced: upkeep::Announced::default(),
            doubts: measure::Doubts::default(),
            own_ports: own_ports.into(),
        }
    }

    /// Waits until everything that was begun has ended; pulls, which may take long, are given up.
    pub async fn finish(&self) {
        self.pulls.end();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Waits until something was left for the reconciler.
    pub async fn left_unsettled(&self) {
        self.unsettled.notified().await;
    }

    /// Waits until Podman is there again, or for the first time; its host may be another one.
    pub async fn podman_came_back(&self) {
        self.engine.came_back().await;
        self.engine.doubt_host();
    }

    /// Whether Podman's host said what it can enforce.
    pub fn knows_host(&self) -> bool {
        self.engine.knows_host()
    }

    /// Runs `work` to its end even if the caller stops waiting for it, and notes how it ended.
    async fn to_the_end<T: Send + 'static>(
        &self,
        entry: &Entry,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let entry = entry.clone();
        let noted = async move {
            let ended = work.await;
            entry.note(Outcome::of(&ended));
            ended
        };
        self.tasks.spawn(noted).await.map_err(Error::internal)?
    }

    /// A claim as soon as whoever has it lets go; `Conflict` if that takes longer than the deadline.
    async fn claim_in_time(&self, row_id: &str, deadline: Deadline) -> Result<Claim> {
        let busy = || Error::new(Kind::Conflict, "something else is being done with this");
        deadline.or_none(self.claims.claimed(row_id)).await.ok_or_else(busy)
    }

    /// Notes that the container is in use until this is dropped, if it goes for want of use.
    fn in_use(&self, row: &Container) -> Option<Counted> {
        row.idle_seconds.map(|_| self.used.enter(&row.id))
    }

    /// Runs what changes whether a container runs. Nobody else here writes down meanwhile how it is, and it is looked at
    /// afterwards.
    async fn changing<T>(&self, grant: &ContainerGrant, change: impl Future<Output = T>) -> T {
        let changing = self.changing.enter(&grant.row().id);
        let outcome = change.await;
        drop(changing);
        self.engine.look_again(grant.engine_id());
        outcome
    }

    /// Whether something here changes the row's container now.
    fn is_changing(&self, row_id: &str) -> bool {
        self.changing.has(row_id)
    }

    /// Waits until nobody else holds this row for a change that is read first and then written.
    async fn alone(&self, row_id: &str) -> OwnedMutexGuard<()> {
        let row = {
            let mut rows = lock(&self.alone);
            rows.retain(|id, row| id == row_id || Arc::strong_count(row) > 1);
            Arc::clone(rows.entry(row_id.to_owned()).or_default())
        };
        row.lock_owned().await
    }

    /// The row is no more.
    fn forget_what_is_known(&self, row_id: &str) {
        lock(&self.vanished).remove(row_id);
        self.announced.forget(row_id);
    }

    /// Marks a row as being worked on, so that no reconciler takes it for what a crash left.
    fn claim(&self, row_id: &str) -> Option<Claim> {
        self.claims.claim(row_id)
    }
}
