//! One connection to a terminal: what it hears, and when it ends.

use bytes::Bytes;

use super::session::{End, RESUMABLE, Session};
use super::words::Word;
use crate::engine::Output;
use crate::streams::socket::Close;

/// Somebody is connected, until this is dropped.
pub(super) struct Connection<'a> {
    session: &'a Session,
    turn: u64,
}

/// What a client is to hear.
pub(super) enum Next {
    Output(Output, Bytes),
    End(End),
}

impl<'a> Connection<'a> {
    /// The session's of this turn.
    pub(super) fn new(session: &'a Session, turn: u64) -> Self {
        Self { session, turn }
    }

    /// What stands from a place on, once it is there; the end behind all of it.
    pub(super) async fn next(&self, place: u64, most: usize) -> Next {
        let mut news = self.session.news.subscribe();
        let mut state = self.session.state.subscribe();
        loop {
            news.mark_unchanged();
            let end = state.borrow_and_update().end.clone();
            if let Some((output, bytes)) = self.session.output().next(place, most) {
                return Next::Output(output, bytes);
            }
            if let Some(end) = end {
                return Next::End(end);
            }
            tokio::select! {
                _ = news.changed() => {}
                _ = state.changed() => {}
            }
        }
    }

    /// Back when somebody else took it over.
    pub(super) async fn taken_over(&self) -> Close {
        let mut state = self.session.state.subscribe();
        let _ = state.wait_for(|state| state.turn != self.turn).await;
        Close::done("another connection took the terminal over")
    }

    /// The client wants no more of it.
    pub(super) fn hang_up(&self) {
        self.session.state.send_modify(|state| state.hung_up = true);
    }

    /// What the client needs to come back.
    pub(super) fn introduction(&self, offset: u64) -> String {
        let resumable_seconds = RESUMABLE.as_secs();
        Word::Session { session: &self.session.id, resumable_seconds, offset }.text()
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        self.session.state.send_if_modified(|state| {
            let is_last = state.turn == self.turn;
            state.connected &= !is_last;
            is_last
        });
    }
}
