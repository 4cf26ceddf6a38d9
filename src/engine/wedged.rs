//! Containers that Podman does not answer for, and one short call at a time for each.
//!
//! Podman locks a container while it works on it. One that hangs (a FIFO at /etc/passwd) keeps its lock, and every
//! further call on it waits in Podman for ever, holding memory, and a removal one of the few slots that all removals
//! share. So: one call at a time; after a missed deadline no call but a probe now and then; a removal only right after a
//! look that was answered.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::Deadline;
use crate::domain::{EngineId, Error, Kind, Result};

/// After the first missed deadline, and the most after many.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// By container, or by what else is one thing to Podman and may hang.
#[derive(Clone)]
pub(super) struct Wedged<K = EngineId> {
    containers: Arc<Mutex<HashMap<K, Entry>>>,
}

impl<K> Default for Wedged<K> {
    fn default() -> Self {
        Self { containers: Arc::default() }
    }
}

struct Entry {
    turn: Arc<Semaphore>,
    missed: Option<Missed>,
}

#[derive(Clone, Copy)]
struct Missed {
    pause: Duration,
    probe_at: Instant,
}

impl Entry {
    /// Whether a call that begins now is a probe; `EngineTimeout` where none is due.
    fn admit(&mut self) -> Result<bool> {
        let Some(missed) = &mut self.missed else { return Ok(false) };
        if Instant::now() < missed.probe_at {
            return Err(no_answer());
        }
        // The next one is due only after another pause.
        missed.probe_at = Instant::now() + missed.pause;
        Ok(true)
    }
}

impl<K: Eq + Hash + Clone> Wedged<K> {
    /// Waits for this container's turn. `EngineTimeout` at once while it is marked and no probe is due.
    pub(super) async fn turn(&self, id: &K, deadline: Deadline) -> Result<OwnedSemaphorePermit> {
        let (turn, is_probe) = {
            let mut containers = self.lock();
            // Entries that nobody uses and that are not marked are as good as none.
            if containers.len() > 1024 {
                containers.retain(|_, entry| entry.missed.is_some() || Arc::strong_count(&entry.turn) > 1);
            }
            let fresh = || Entry { turn: Arc::new(Semaphore::new(1)), missed: None };
            let entry = containers.entry(id.clone()).or_insert_with(fresh);
            let is_probe = entry.admit()?;
            (Arc::clone(&entry.turn), is_probe)
        };
        let taken = deadline.or_none(turn.acquire_owned()).await.ok_or_else(no_answer)?;
        // Whoever had the turn may have missed its deadline meanwhile.
        if !is_probe && let Some(entry) = self.lock().get_mut(id) {
            entry.admit()?;
        }
        taken.map_err(Error::internal)
    }

    /// Whether its last call missed its deadline.
    pub(super) fn is_marked(&self, id: &K) -> bool {
        self.lock().get(id).is_some_and(|entry| entry.missed.is_some())
    }

    /// Whether any container's is.
    pub(super) fn any(&self) -> bool {
        self.lock().values().any(|entry| entry.missed.is_some())
    }

    /// How many containers' are.
    pub(super) fn count(&self) -> usize {
        self.lock().values().filter(|entry| entry.missed.is_some()).count()
    }

    /// Learns from a call's outcome.
    pub(super) fn learn<T>(&self, id: &K, outcome: &Result<T>) {
        let missed = matches!(outcome, Err(error) if error.kind == Kind::EngineTimeout);
        let mut containers = self.lock();
        let Some(entry) = containers.get_mut(id) else { return };
        entry.missed = missed.then(|| {
            let pause = entry.missed.map_or(FIRST_PAUSE, |before| (before.pause * 2).min(LONGEST_PAUSE));
            Missed { pause, probe_at: Instant::now() + pause }
        });
    }

    /// It was not the container that kept Podman from answering.
    pub(super) fn forgive(&self, id: &K) {
        if let Some(entry) = self.lock().get_mut(id) {
            entry.missed = None;
        }
    }

    /// Podman was restarted, maybe: every container may be probed now.
    pub(super) fn probe_all(&self) {
        let now = Instant::now();
        self.lock().values_mut().filter_map(|entry| entry.missed.as_mut()).for_each(|missed| missed.probe_at = now);
    }

    /// A map has no state between statements that a panic could break.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, Entry>> {
        self.containers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn no_answer() -> Error {
    Error::new(Kind::EngineTimeout, "Podman does not answer for this container")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> EngineId {
        EngineId::parse(&"a".repeat(64)).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_waited_behind_a_call_that_hung_is_refused() {
        let wedged = Wedged::default();
        let deadline = Deadline::after(Duration::from_secs(60));
        let turn = wedged.turn(&id(), deadline).await.unwrap();
        let next = tokio::spawn({
            let wedged = wedged.clone();
            async move { wedged.turn(&id(), deadline).await.map(drop) }
        });
        tokio::task::yield_now().await;
        wedged.learn::<()>(&id(), &Err(no_answer()));
        drop(turn);
        assert_eq!(next.await.unwrap().unwrap_err().kind, Kind::EngineTimeout);
    }

    #[tokio::test(start_paused = true)]
    async fn a_missed_deadline_leaves_only_probes() {
        let wedged = Wedged::default();
        let deadline = || Deadline::after(Duration::from_secs(1));
        let turn = wedged.turn(&id(), deadline()).await.unwrap();
        assert!(wedged.turn(&id(), deadline()).await.is_err(), "one call at a time");
        drop(turn);
        wedged.learn::<()>(&id(), &Err(no_answer()));
        assert!(wedged.is_marked(&id()));
        assert!(wedged.turn(&id(), deadline()).await.is_err());
        tokio::time::advance(FIRST_PAUSE).await;
        let probe = wedged.turn(&id(), deadline()).await.unwrap();
        assert!(wedged.turn(&id(), deadline()).await.is_err(), "one probe at a time");
        drop(probe);
        wedged.learn(&id(), &Ok(()));
        assert!(!wedged.is_marked(&id()));
        assert!(wedged.turn(&id(), deadline()).await.is_ok());
    }
}
