//! What a connection is doing, and the instant by which it must have done it.
//!
//! hyper's own timers are not enough. Its HTTP/1 header deadline starts only after the first bytes were read to tell the
//! versions apart (a client that sends nothing, or three bytes, is held forever), and on a connection kept alive it covers
//! the wait for the next request too, so that one number would have to serve for both. HTTP/2 has none.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use super::{head::Head, limits::Limits};
use crate::domain::patience;

/// How long a peer gets to close its side once we closed ours, or to answer our GOAWAY.
pub(super) const LINGER: Duration = Duration::from_secs(2);

/// What to do when the instant comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Nothing is late; look again.
    Look,
    /// Nothing was asked for a while: close politely.
    Idle,
    /// The peer is late: drop the connection.
    Late(&'static str),
}

/// One connection's state, shared between its socket, its requests and its deadline.
#[derive(Debug)]
pub(super) struct Activity {
    header: Duration,
    idle: Duration,
    state: Mutex<State>,
    upgraded: AtomicBool,
}

#[derive(Debug)]
struct State {
    /// Requests that were dispatched and whose response was not fully taken by hyper. At most 1 on HTTP/1.
    running: usize,
    /// Whether any request came.
    used: bool,
    http2: bool,
    /// Whether the last request had a body, which may not have been read to its end.
    had_body: bool,
    /// Since when nothing runs.
    waiting_since: Instant,
    /// When the first byte of the next HTTP/1 head came.
    head_since: Option<Instant>,
    head: Head,
    /// Since when the peer takes none of the bytes that are being sent to it.
    blocked_since: Option<Instant>,
    /// How many it took since it last was without a request.
    taken: u64,
    /// By request: since when the peer could have taken the next piece of its response. On HTTP/2 a peer that gives no
    /// window blocks no socket, and may answer our PINGs for ever.
    offered: HashMap<u64, Instant>,
    requests: u64,
    closing_since: Option<Instant>,
}

/// One running request; dropped when the response's last byte went to hyper, or the request was abandoned.
#[derive(Debug)]
pub(super) struct Running {
    activity: Arc<Activity>,
    number: u64,
}

impl Running {
    pub fn activity(&self) -> &Activity {
        &self.activity
    }

    /// Something of the response is there for the peer to take.
    pub fn offers(&self) {
        self.activity.state().offered.insert(self.number, Instant::now());
    }

    /// The peer has all there is, and waits for us.
    pub fn waits(&self) {
        self.activity.state().offered.remove(&self.number);
    }
}

impl Activity {
    pub fn new(limits: &Limits) -> Arc<Self> {
        Arc::new(Self {
            header: limits.header,
            idle: limits.idle,
            state: Mutex::new(State {
                running: 0,
                used: false,
                http2: false,
                had_body: false,
                waiting_since: Instant::now(),
                head_since: None,
                head: Head::default(),
                blocked_since: None,
                taken: 0,
                offered: HashMap::new(),
                requests: 0,
                closing_since: None,
            }),
            upgraded: AtomicBool::new(false),
        })
    }

    /// Bytes came from the peer.
    pub fn received(&self, bytes: &[u8]) {
        let mut state = self.state();
        // On HTTP/2 a PING is no sign of a request.
        if state.running == 0 && !state.http2 {
            state.head.read(bytes);
            if state.head.begun() && state.head_since.is_none() {
                state.head_since = Some(Instant::now());
            }
        }
    }

    /// The peer took so many bytes, or (`blocked`) would not.
    pub fn sent(&self, blocked: bool, bytes: usize) {
        let mut state = self.state();
        state.taken = state.taken.saturating_add(bytes as u64);
        if blocked {
            state.blocked_since.get_or_insert_with(Instant::now);
        } else if state.blocked_since.take().is_some() {
            state.waiting_since = Instant::now();
        }
    }

    /// Whether a head is being read, and nothing else is under way.
    pub fn reads_head(&self) -> bool {
        let state = self.state();
        state.running == 0 && !state.http2 && state.head.begun()
    }

    /// A request was dispatched. Says whether its head was seen to be ambiguous.
    pub fn begin(self: &Arc<Self>, http2: bool, has_body: bool) -> (Running, bool) {
        let mut state = self.state();
        let ambiguous = !http2 && state.head.is_ambiguous();
        if state.running == 0 {
            state.taken = 0;
        }
        state.running += 1;
        state.used = true;
        state.http2 = http2;
        state.had_body = has_body;
        state.requests += 1;
        (Running { activity: Arc::clone(self), number: state.requests }, ambiguous)
    }

    /// The running request's body was read to its end.
    pub fn body_ended(&self) {
        self.state().had_body = false;
    }

    /// The connection was handed to whoever asked for its upgrade; no deadline of ours applies any more.
    pub fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Release);
    }

    pub fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Acquire)
    }

    /// We are closing. What runs may finish.
    pub fn close(&self) {
        self.state().closing_since.get_or_insert_with(Instant::now);
    }

    /// Our side is closed. Says whether the peer may still be sending what nobody reads, a body or the rest of a bad head:
    /// dropping the socket then would reset the connection, and the peer could lose our response (RFC 9112, 9.6).
    pub fn must_linger(&self) -> bool {
        let mut state = self.state();
        state.closing_since.get_or_insert_with(Instant::now);
        state.head.begun() || (state.had_body && state.waiting_since.elapsed() < LINGER)
    }

    /// The instant by which something must have happened, as it looks at `now`.
    pub fn deadline(&self, now: Instant) -> (Instant, Expiry) {
        let state = self.state();
        if let Some(since) = state.offered.values().copied().chain(state.blocked_since).min() {
            (since + patience(self.idle, state.taken), Expiry::Late("the peer takes no data"))
        } else if state.running > 0 {
            // The end of an HTTP/2 stream may not wake the connection's task. Looking this often is exact all the same:
            // what ended since the last look is late no earlier than now.
            let pause = if state.closing_since.is_some() { LINGER } else { self.idle };
            (now + pause, Expiry::Look)
        } else if let Some(since) = state.closing_since {
            (since.max(state.waiting_since) + LINGER, Expiry::Late("the peer did not close"))
        } else if !state.used {
            (state.waiting_since + self.header, Expiry::Late("no request head in time"))
        } else if let Some(since) = state.head_since {
            (since + self.header, Expiry::Late("no whole request head in time"))
        } else {
            (state.waiting_since + self.idle, Expiry::Idle)
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.activity.state();
        state.offered.remove(&self.number);
        state.running -= 1;
        if state.running == 0 {
            state.waiting_since = Instant::now();
            state.head_since = None;
            // The rest of a body that was not read comes before the next head.
            state.head = if state.had_body && !state.http2 { Head::unseen() } else { Head::default() };
        }
    }
}
