//! One terminal: it outlives its connection for a while, and whoever comes back misses nothing.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::connection::Connection;
use super::orders::{Order, Orders};
use crate::domain::Principal;
use crate::engine::{Exit, Live, LiveInput, LiveOutput, Output, Told};
use crate::lifecycle::Use;
use crate::policy::grant::{Audited, ContainerGrant};
use crate::streams::socket::Close;
use crate::streams::{Open, Replay};

/// How long a terminal waits for a client that lost its connection.
pub(super) const RESUMABLE: Duration = Duration::from_secs(30);

/// Ctrl-D, as terminals have it unless told otherwise.
const END_OF_FILE: &[u8] = b"\x04";

/// All that run on this gateway, by their identifiers.
#[derive(Clone, Default)]
pub struct Terminals(Arc<Mutex<HashMap<String, Arc<Session>>>>);

/// One of them.
pub(super) struct Session {
    pub(super) id: String,
    account_id: String,
    row_id: String,
    is_tty: bool,
    output: Mutex<Replay<Output>>,
    /// How far it was said, and confirmed: changes wake whoever waits.
    pub(super) news: watch::Sender<u64>,
    /// Where what was not sent yet begins.
    sent: AtomicU64,
    /// Whether input waits for the command, and with it whatever the client says behind it.
    held_up: AtomicBool,
    orders: Orders,
    /// Whether a client said that no input follows.
    input_ended: AtomicBool,
    pub(super) state: watch::Sender<State>,
}

#[derive(Clone, Default)]
pub(super) struct State {
    /// How often it was connected to: who has an earlier number is connected no more.
    pub(super) turn: u64,
    pub(super) connected: bool,
    pub(super) hung_up: bool,
    last_used: Option<Instant>,
    pub(super) end: Option<End>,
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
    /// Whether it is a terminal, and not pipes.
    pub(super) is_tty: bool,
    pub(super) _in_use: Use,
}

impl Terminals {
    /// Has a terminal run by itself from now on.
    pub(super) fn begin(&self, id: String, who: &Principal, live: Live, held: Held, idle: Duration) -> Arc<Session> {
        let session = Arc::new(Session {
            id: id.clone(),
            account_id: who.account_id.clone(),
            row_id: held.grant.row().id.clone(),
            is_tty: held.is_tty,
            output: Mutex::default(),
            news: watch::Sender::new(0),
            sent: AtomicU64::new(0),
            held_up: AtomicBool::new(false),
            orders: Orders::default(),
            input_ended: AtomicBool::new(false),
            state: watch::Sender::default(),
        });
        self.lock().insert(id, Arc::clone(&session));
        let (this, running) = (self.clone(), Arc::clone(&session));
        tokio::spawn(async move {
            running.run(live, held, idle).await;
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
    async fn run(&self, live: Live, held: Held, idle: Duration) {
        let Live { input, output } = live;
        let end = tokio::select! {
            biased;
            ending = held.open.ended() => End { exit: None, close: ending.into() },
            end = self.listen(output) => end,
            never = self.obey(input) => match never {},
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

    async fn obey(&self, mut input: LiveInput) -> Never {
        while self.carry_out(self.orders.take().await, &mut input).await.is_ok() {}
        // The output tells how it ended.
        std::future::pending().await
    }

    async fn carry_out(&self, order: Order, input: &mut LiveInput) -> io::Result<()> {
        self.used();
        match order {
            Order::Bytes(bytes) => self.feed(&bytes, input).await,
            Order::End => input.end().await,
            Order::Signal(number) => input.signal(number).await,
            Order::Resize(size) => input.resize(size).await,
        }
    }

    /// Gives the command its input as fast as it reads, and what need not wait for that.
    async fn feed(&self, mut bytes: &[u8], input: &mut LiveInput) -> io::Result<()> {
        while !bytes.is_empty() {
            tokio::select! {
                biased;
                taken = input.room(bytes.len()) => {
                    let (now, later) = bytes.split_at(taken);
                    input.give(now).await?;
                    bytes = later;
                }
                order = self.orders.take_urgent() => Box::pin(self.carry_out(order, input)).await?,
            }
        }
        Ok(())
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
        self.held_up.store(false, Relaxed);
        self.state.send_modify(|state| {
            state.turn += 1;
            state.connected = true;
            turn = state.turn;
        });
        Connection::new(self, turn)
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
        self.sent.store(place, Relaxed);
        if self.held_up.load(Relaxed) {
            self.confirm(place);
        }
    }

    /// Gives it what the client wants, as fast as it is taken.
    ///
    /// A command that does not read on because nobody takes what it says would be waited for for ever: what the client
    /// says of that stands behind its input. So what was sent counts as confirmed meanwhile.
    pub(super) async fn order(&self, order: Order) {
        let Err(order) = self.orders.try_give(order) else { return };
        self.held_up.store(true, Relaxed);
        self.confirm(self.sent.load(Relaxed));
        // Where it has ended, the client is told that.
        self.orders.give(order).await;
        self.held_up.store(false, Relaxed);
    }

    /// The input is over. On a terminal that is a character: whatever is typed behind it is for whoever reads on.
    pub(super) async fn end_input(&self) {
        if self.is_tty {
            return self.order(Order::Bytes(Bytes::from_static(END_OF_FILE))).await;
        }
        self.input_ended.store(true, Relaxed);
        self.order(Order::End).await;
    }

    /// Whether no input may follow.
    pub(super) fn input_has_ended(&self) -> bool {
        self.input_ended.load(Relaxed)
    }

    pub(super) fn output(&self) -> MutexGuard<'_, Replay<Output>> {
        self.output.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Never {}
