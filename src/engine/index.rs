//! What was last seen of each container, so that a read asks Podman only after something happened.
//!
//! Every look is written here. An entry is believed until one of our own calls or one of Podman's events touches its
//! container, and only while Podman's events are heard. Events lag by up to 250 ms (Podman 4.3.1, events in a file): a
//! container that ends by itself may be said to run for so long.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::Status;
use crate::domain::EngineId;

/// Most containers remembered as touched; those beyond are met by the round over the ledger.
const MOST_TOUCHED: usize = 10_000;

#[derive(Clone, Default)]
pub(super) struct Index {
    state: Arc<Mutex<State>>,
    touched: Arc<Notify>,
    began: Arc<Notify>,
}

#[derive(Default)]
struct State {
    listening: bool,
    versions: u64,
    entries: HashMap<EngineId, Entry>,
    /// With whether it was made.
    touched: HashMap<EngineId, bool>,
}

struct Entry {
    version: u64,
    status: Option<Status>,
}

/// What a look that begins now may replace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Version(u64);

impl Index {
    /// How the container was when it was last looked at, if that can be believed.
    pub(super) fn known(&self, id: &EngineId) -> Option<Status> {
        let state = self.lock();
        state.entries.get(id).filter(|_| state.listening)?.status.clone()
    }

    /// A look at the container begins.
    pub(super) fn begin(&self, id: &EngineId) -> Version {
        let mut state = self.lock();
        state.versions += 1;
        let version = state.versions;
        Version(state.entries.entry(id.clone()).or_insert(Entry { version, status: None }).version)
    }

    /// What the look saw, unless something happened meanwhile.
    pub(super) fn learn(&self, id: &EngineId, begun: Version, status: &Status) {
        if let Some(entry) = self.lock().entries.get_mut(id)
            && entry.version == begun.0
        {
            entry.status = Some(status.clone());
        }
    }

    /// Something was done to the container, or is about to be.
    pub(super) fn touch(&self, id: &EngineId) {
        let mut state = self.lock();
        state.versions += 1;
        let version = state.versions;
        if let Some(entry) = state.entries.get_mut(id) {
            *entry = Entry { version, status: None };
        }
    }

    /// Podman told that something happened to the container; perhaps that it was made.
    pub(super) fn heard_of(&self, id: EngineId, made: bool) {
        self.touch(&id);
        let mut state = self.lock();
        if state.touched.len() < MOST_TOUCHED {
            *state.touched.entry(id).or_default() |= made;
            self.touched.notify_one();
        }
    }

    /// The container is gone.
    pub(super) fn forget(&self, id: &EngineId) {
        self.lock().entries.remove(id);
    }

    /// Whether Podman's events are heard from now on. What was seen before is not believed either way.
    pub(super) fn listen(&self, listening: bool) {
        let mut state = self.lock();
        state.listening = listening;
        state.entries.clear();
        if listening {
            self.began.notify_one();
        }
    }

    /// Waits until Podman's events are heard anew.
    pub(super) async fn began(&self) {
        self.began.notified().await;
    }

    /// Whether Podman's events are heard.
    pub(super) fn is_listening(&self) -> bool {
        self.lock().listening
    }

    /// The containers that events told of since the last call, once there are any, with whether they were made.
    pub(super) async fn next_touched(&self) -> HashMap<EngineId, bool> {
        loop {
            let touched = std::mem::take(&mut self.lock().touched);
            if !touched.is_empty() {
                return touched;
            }
            self.touched.notified().await;
        }
    }

    /// The maps are whole between statements, so a panic elsewhere is no reason to stop.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(word: &str) -> Status {
        Status { word: word.into(), exit_code: None, started_at: None, finished_at: None }
    }

    fn id() -> EngineId {
        EngineId::parse(&"a".repeat(64)).unwrap()
    }

    fn listening() -> Index {
        let index = Index::default();
        index.listen(true);
        index
    }

    #[test]
    fn a_look_is_believed_until_something_happens() {
        let index = listening();
        index.learn(&id(), index.begin(&id()), &status("running"));
        assert_eq!(index.known(&id()), Some(status("running")));
        index.touch(&id());
        assert_eq!(index.known(&id()), None);
    }

    #[test]
    fn what_was_seen_while_something_happened_is_not_believed() {
        let index = listening();
        let begun = index.begin(&id());
        index.heard_of(id(), false);
        index.learn(&id(), begun, &status("running"));
        assert_eq!(index.known(&id()), None);
        let begun = index.begin(&id());
        index.forget(&id());
        let again = index.begin(&id());
        index.learn(&id(), begun, &status("running"));
        assert_eq!(index.known(&id()), None);
        index.learn(&id(), again, &status("exited"));
        assert_eq!(index.known(&id()), Some(status("exited")));
    }

    #[test]
    fn nothing_is_believed_without_events() {
        let index = Index::default();
        index.learn(&id(), index.begin(&id()), &status("running"));
        assert_eq!(index.known(&id()), None);
        index.listen(true);
        assert_eq!(index.known(&id()), None, "seen before the events were heard");
    }
}
