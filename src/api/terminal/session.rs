//! One terminal: it outlives its connection for a while, and whoever comes back misses nothing.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::words::Word;
use crate::domain::Principal;
use crate::engine::{Exit, Live, LiveInput, LiveOutput, Output, Size, Told};
use crate::lifecycle::Use;
use crate::policy::grant::{Audited, ContainerGrant};
use crate::streams::socket::Close;
use crate::streams::{Open, Replay};

/// How long a terminal waits for a client that lost its connection.
pub(super) const RESUMABLE: Duration = Duration::from_secs(30);

/// All that run on this gateway, by their identifiers.
#[derive(Clone, Default)]
pub struct Terminals(Arc<Mutex<HashMap<String, Arc<Session>>>>);

/// One of them.
pub(super) struct Session {
    pub(super) id: String,
    account_id: String,
    row_id: String,
    output: Mutex<Replay<Output>>,
    /// How far it was said, and confirmed: changes wake whoever waits.
    news: watch::Sender<u64>,
    /// Where what was not sent yet begins.
    sent: AtomicU64,
    /// Whether input waits for the command, and with it whatever the client says behind it.
    held_up: AtomicBool,
    orders: mpsc::Sender<Input>,
    state: watch::Sender<State>,
}

/// What a client wants.
pub(super) enum Input {
    Bytes(Bytes),
    End,
    Signal(u8),
    Resize(Size),
}

#[derive(Clone, Default)]
struct State {
    /// How often it was connected to: who has an earlier number is connected no more.
    turn: u64,
    connected: bool,
    hung_up: bool,
    last_used: Option<Instant>,
    end: Option<End>,
}

/// How it ended.
#[derive(Clone, Debug)]
pub(super) struct End {
    pub(super) exit: Option<Exit>,
    pub(super) close: Close,
}

/// What lasts as long as the terminal.
pub(super) struct Held {
    /// The tenant's place, and what ends it from outside.
    pub(super) open: Open,
    /// The entry in the audit log.
    pub(super) grant: Audited<ContainerGrant>,
    pub(super) _in_use: Use,
}

impl Terminals {
    /// Has a terminal run by itself from now on.
    pub(super) fn begin(&self, id: String, who: &Principal, live: Live, held: Held, idle: Duration) -> Arc<Session> {
        // One at a time: whoever types faster than the command reads is held up.
        let (orders, taken) = mpsc::channel(1);
        let session = Arc::new(Session {
            id: id.clone(),
            account_id: who.account_id.clone(),
            row_id: held.grant.row().id.clone(),
            output: Mutex::default(),
            news: watch::Sender::new(0),
            sent: AtomicU64::new(0),
            held_up: AtomicBool::new(false),
            orders,
            state: watch::Sender::default(),
        });
        self.lock().insert(id, Arc::clone(&session));
        let (this, running) = (self.clone(), Arc::clone(&session));
        tokio::spawn(async move {
            running.run(live, taken, held, idle).await;
            // Who was not there to hear the end may still come for it.
            running.heard().await;
            this.lock().remove(&running.id);
        });
        session
    }

    /// The terminal of this identifier, if this account has it in this container.
    pub(super) fn find(&self, id: &str, who: &Principal, grant: &ContainerGrant) -> Option<Arc<Session>> {
        let found = self.lock().get(id).cloned();
        found.filter(|session| {
            session.account_id == who.account_id && session.row_id == grant.row().id && !session.state.borrow().hung_up
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Session>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Until it ends, whatever ends it. Then nothing of it is left in the container.
    async fn run(&self, live: Live, orders: mpsc::Receiver<Input>, held: Held, idle: Duration) {
        let Live { input, output } = live;
        let end = tokio::select! {
            biased;
            ending = held.open.ended() => End { exit: None, close: ending.into() },
            end = self.listen(output) => end,
            never = self.obey(input, orders) => match never {},
            end = self.left() => end,
            end = self.idle(idle) => end,
        };
        self.state.send_modify(|state| state.end = Some(end));
        drop(held);
    }

    async fn listen(&self, mut output: LiveOutput) -> End {
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            if !self.output().has_room() {
                // The session has the sender.
                let _ = news.changed().await;
                continue;
            }
            match output.next().await {
                Ok(Told::Said(from, bytes)) => {
                    self.output().push(from, bytes);
                    self.news.send_modify(|count| *count += 1);
                    self.used();
                }
                Ok(Told::Ended(exit)) => return End { exit: Some(exit), close: Close::done("the command ended") },
                Err(error) => return End { exit: None, close: error.into() },
            }
        }
    }

    async fn obey(&self, mut input: LiveInput, mut orders: mpsc::Receiver<Input>) -> Never {
        while let Some(order) = orders.recv().await {
            self.used();
            let done = match order {
                Input::Bytes(bytes) => input.write(&bytes).await,
                Input::End => input.end().await,
                Input::Signal(number) => input.signal(number).await,
                Input::Resize(size) => input.resize(size).await,
            };
            if done.is_err() {
                break;
            }
        }
        // The output tells how it ended.
        std::future::pending().await
    }

    /// Back when its client hung up, or lost its connection and did not come back in time.
    async fn left(&self) -> End {
        let mut state = self.state.subscribe();
        loop {
            let is_back = async {
                let _ = state.wait_for(|state| state.connected || state.hung_up).await;
            };
            if timeout(RESUMABLE, is_back).await.is_err() {
                return End { exit: None, close: Close::done("nobody came back") };
            }
            if state.borrow().hung_up {
                return End { exit: None, close: Close::done("") };
            }
            let _ = state.wait_for(|state| !state.connected || state.hung_up).await;
        }
    }

    /// Back when nothing was said for so long, by either side.
    async fn idle(&self, limit: Duration) -> End {
        let begun = Instant::now();
        loop {
            let until = self.state.borrow().last_used.unwrap_or(begun) + limit;
            if until <= Instant::now() {
                return End { exit: None, close: Close::done("idle: nothing was said for too long") };
            }
            sleep_until(until).await;
        }
    }

    fn used(&self) {
        self.state.send_if_modified(|state| {
            state.last_used = Some(Instant::now());
            // Nobody waits for this.
            false
        });
    }

    /// Waits until somebody heard how it ended, or nobody comes for it any more.
    async fn heard(&self) {
        let mut state = self.state.subscribe();
        let (turn, connected) = {
            let state = state.borrow();
            (state.turn, state.connected || state.hung_up)
        };
        if !connected {
            let back = state.wait_for(|state| state.turn != turn);
            let _ = timeout(RESUMABLE, back).await;
        }
        // Long enough for whoever is connected to be told.
        sleep(Duration::from_millis(100)).await;
        let _ = timeout(RESUMABLE, state.wait_for(|state| !state.connected)).await;
    }

    /// Takes the terminal over: whoever was connected is not any more.
    pub(super) fn connect(&self) -> Connection<'_> {
        let mut turn = 0;
        self.held_up.store(false, Ordering::Relaxed);
        self.state.send_modify(|state| {
            state.turn += 1;
            state.connected = true;
            turn = state.turn;
        });
        Connection { session: self, turn }
    }

    /// Where output begins that is kept, and where it ends.
    pub(super) fn kept(&self) -> (u64, u64) {
        let output = self.output();
        (output.start(), output.end())
    }

    /// The client has all output before this place.
    pub(super) fn confirm(&self, place: u64) {
        self.output().confirm(place);
        self.news.send_modify(|count| *count += 1);
    }

    /// All output before this place is on its way to the client.
    pub(super) fn sent(&self, place: u64) {
        self.sent.store(place, Ordering::Relaxed);
        if self.held_up.load(Ordering::Relaxed) {
            self.confirm(place);
        }
    }

    /// Gives it what the client wants, as fast as it is taken.
    ///
    /// A command that does not read on because nobody takes what it says would be waited for for ever: what the client
    /// says of that stands behind its input. So what was sent counts as confirmed meanwhile.
    pub(super) async fn order(&self, input: Input) {
        let Err(TrySendError::Full(input)) = self.orders.try_send(input) else { return };
        self.held_up.store(true, Ordering::Relaxed);
        self.confirm(self.sent.load(Ordering::Relaxed));
        // Where it has ended, the client is told that.
        let _ = self.orders.send(input).await;
        self.held_up.store(false, Ordering::Relaxed);
    }

    fn output(&self) -> MutexGuard<'_, Replay<Output>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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

impl Connection<'_> {
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

enum Never {}
