//! What the program does by itself, in the audit log: announced at the first attempt, and once more at its end.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Lifecycle;
use crate::domain::Result;
use crate::policy::grant::{Audited, SystemGrant};
use crate::store::{Deed, Entry, Outcome};

/// Entries of what was tried and is not done yet, by our identifier of what it is done to.
#[derive(Clone, Default)]
pub(super) struct Announced(Arc<Mutex<HashMap<String, Entry>>>);

impl Announced {
    /// What was tried is done otherwise.
    pub(super) fn forget(&self, id: &str) {
        let forgotten = self.lock().remove(id);
        drop(forgotten);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lifecycle {
    /// Does something on the program's own account, which is announced first. What fails is tried again some time, under
    /// the same entry: a Podman that is away for a day is no reason for a row every second.
    pub(super) async fn upkeep<T>(
        &self,
        system: &SystemGrant,
        id: &str,
        deed: Deed<'_>,
        work: impl AsyncFnOnce(&Audited<SystemGrant>) -> Result<T>,
    ) -> Result<T> {
        let known = self.announced.lock().get(id).cloned();
        let entry = match known {
            Some(entry) => entry,
            None => {
                let entry = self.store.announce_upkeep(deed).await?;
                self.announced.lock().insert(id.to_owned(), entry.clone());
                entry
            }
        };
        let outcome = work(&system.announced(entry.clone())).await;
        entry.note(Outcome::of(&outcome));
        if outcome.is_ok() {
            self.announced.forget(id);
        }
        outcome
    }
}
