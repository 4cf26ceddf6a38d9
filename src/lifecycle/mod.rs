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
mod run;
mod tenants;
mod upkeep;
mod users;
mod volumes;
mod watch;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedMutexGuard};
use tokio_util::task::TaskTracker;

use crate::domain::{Error, Kind, Result};
use crate::engine::{Deadline, Engine};
use crate::policy::grant::ContainerGrant;
use crate::store::{Entry, Outcome, Store};

pub use attach::Use;
pub use create::CreatedContainer;
pub use events::Heard;
pub use fail_point::FailPoint;
pub use pulls::Pull;
pub use reconcile::{Reconciled, Strays};
pub use users::NewUser;

/// Between two looks at whether a row is free. Claims are short, or end with a deadline.
const CLAIM_PAUSE: Duration = Duration::from_millis(20);

/// Runs the steps.
#[derive(Clone)]
pub struct Lifecycle {
    store: Store,
    engine: Engine,
    installation: Arc<str>,
    fail_point: FailPoint,
    tasks: TaskTracker,
    in_flight: Arc<Mutex<HashSet<String>>>,
    unsettled: Arc<Notify>,
    alone: Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>,
    used: Arc<Mutex<HashMap<String, usize>>>,
    changing: Arc<Mutex<HashMap<String, usize>>>,
    listeners: events::Listeners,
    vanished: Arc<Mutex<HashSet<String>>>,
    pulls: pulls::Pulls,
    announced: upkeep::Announced,
}

impl Lifecycle {
    /// Over this store and this engine.
    pub fn new(store: Store, engine: Engine, installation: String, fail_point: FailPoint) -> Self {
        Self {
            store,
            engine,
            installation: installation.into(),
            fail_point,
            tasks: TaskTracker::new(),
            in_flight: Arc::default(),
            unsettled: Arc::default(),
            alone: Arc::default(),
            used: Arc::default(),
            changing: Arc::default(),
            listeners: events::Listeners::default(),
            vanished: Arc::default(),
            pulls: pulls::Pulls::default(),
            announced: upkeep::Announced::default(),
        }
    }

    /// Waits until everything that was begun has ended.
    pub async fn finish(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Waits until something was left for the reconciler.
    pub async fn left_unsettled(&self) {
        self.unsettled.notified().await;
    }

    /// Waits until Podman is there again, or for the first time.
    pub async fn podman_came_back(&self) {
        self.engine.came_back().await;
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
        let wait = async {
            loop {
                if let Some(claim) = self.claim(row_id) {
                    return claim;
                }
                tokio::time::sleep(CLAIM_PAUSE).await;
            }
        };
        let busy = || Error::new(Kind::Conflict, "something else is being done with this");
        deadline.or_none(wait).await.ok_or_else(busy)
    }

    /// Notes that the row's container is in use until the guard is dropped.
    fn in_use(&self, row_id: &str) -> InUse {
        InUse::enter(row_id, &self.used)
    }

    /// Runs what changes whether a container runs. Nobody else writes down meanwhile how it is, and it is looked at
    /// afterwards.
    async fn changing<T>(&self, grant: &ContainerGrant, change: impl Future<Output = T>) -> T {
        let changing = InUse::enter(&grant.row().id, &self.changing);
        let outcome = change.await;
        drop(changing);
        self.engine.look_again(grant.engine_id());
        outcome
    }

    /// Whether something changes the row's container now.
    fn is_changing(&self, row_id: &str) -> bool {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner).contains_key(row_id)
    }

    /// Whether the row's container is in use.
    fn is_in_use(&self, row_id: &str) -> bool {
        self.used.lock().unwrap_or_else(PoisonError::into_inner).contains_key(row_id)
    }

    /// Waits until nobody else holds this row for a change that is read first and then written.
    async fn alone(&self, row_id: &str) -> OwnedMutexGuard<()> {
        let row = {
            let mut rows = self.alone.lock().unwrap_or_else(PoisonError::into_inner);
            rows.retain(|id, row| id == row_id || Arc::strong_count(row) > 1);
            Arc::clone(rows.entry(row_id.to_owned()).or_default())
        };
        row.lock_owned().await
    }

    /// Marks a row as being worked on, so that no reconciler takes it for what a crash left.
    fn claim(&self, row_id: &str) -> Option<Claim> {
        let fresh = lock(&self.in_flight).insert(row_id.to_owned());
        fresh.then(|| Claim { row_id: row_id.to_owned(), in_flight: Arc::clone(&self.in_flight) })
    }
}

/// A container that somebody uses until this is dropped.
struct InUse {
    row_id: String,
    used: Arc<Mutex<HashMap<String, usize>>>,
}

impl InUse {
    fn enter(row_id: &str, used: &Arc<Mutex<HashMap<String, usize>>>) -> Self {
        *used.lock().unwrap_or_else(PoisonError::into_inner).entry(row_id.to_owned()).or_default() += 1;
        Self { row_id: row_id.to_owned(), used: Arc::clone(used) }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        match used.get_mut(&self.row_id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                used.remove(&self.row_id);
            }
        }
    }
}

/// A row that this process works on until the claim is dropped.
struct Claim {
    row_id: String,
    in_flight: Arc<Mutex<HashSet<String>>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.in_flight).remove(&self.row_id);
    }
}

/// A set has no state between statements that a panic could break.
fn lock(set: &Mutex<HashSet<String>>) -> MutexGuard<'_, HashSet<String>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}
