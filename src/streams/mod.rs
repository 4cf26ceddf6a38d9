//! What stays open after its request was answered: server-sent events and WebSockets.
//!
//! Whoever opens one holds an [`Open`] for as long as it lives. It is one of the tenant's places for streams, given back
//! when it is dropped, and it tells the end: within about a second of the session, key, account or tenant being over, or
//! of the scope being lost ([`Ending::Revoked`]), and when the gateway is told to end ([`Ending::Draining`]). All that is
//! open is looked up together, once a second.
//!
//! A WebSocket is served like this, in an operation of `api` (see `api::attach` for a whole one):
//!
//! ```ignore
//! async fn terminal(&self, who: Caller<Exec>, name: Path<String>, upgrade: Upgrade) -> poem::Result<Switching> {
//!     // Whatever can be refused is refused here, in the envelope.
//!     let grant = self.0.policy.container(who.principal(), who.scope(), Change, &name).await?;
//!     let open = self.0.streams.open(who.principal(), who.scope()).await?;
//!     let session = self.0.lifecycle.begin(&grant).await?;
//!     // And this runs once the protocol was switched: until it returns how to close, or until `open` ends, when it is
//!     // dropped where it stands.
//!     Ok(upgrade.serve(open, async move |socket| session.talk(socket).await))
//! }
//! ```
//!
//! The ticket or token, the `Origin`, the handshake's headers, the scope and the document are all taken care of by
//! taking an `Upgrade`: an operation that answers with `Switching` is documented and checked as a WebSocket. Pings, pongs,
//! silence, limits of size, back-pressure and the closing handshake are [`socket`]'s. Server-sent events: `api::sse`.

mod replay;
pub mod socket;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::auth::Authenticator;
use crate::domain::{Principal, Result, Scope};
use crate::policy::{Place, Policy};

pub use replay::Replay;

/// How long streams go on while nobody can say whether they may.
const UNCHECKED_FOR: Duration = Duration::from_secs(15);

/// Why a stream ends before it is over by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Who opened it may not have it any more.
    Revoked,
    /// For a while the records could not be asked whether it may go on.
    Unchecked,
    /// The gateway ends.
    Draining,
}

impl Ending {
    /// For whoever reads it.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Revoked => "revoked: the session, key or account is over",
            Self::Unchecked => "unchecked: the records cannot be asked",
            Self::Draining => "draining: the gateway ends; connect again",
        }
    }
}

/// All that is open on this gateway.
#[derive(Clone)]
pub struct Streams {
    policy: Policy,
    auth: Authenticator,
    state: Arc<Mutex<State>>,
}

struct State {
    next: u64,
    draining: bool,
    checked: Instant,
    entries: HashMap<u64, Entry>,
}

struct Entry {
    principal: Arc<Principal>,
    scope: Scope,
    tell: watch::Sender<Option<Ending>>,
}

/// One open stream, until this is dropped.
pub struct Open {
    number: u64,
    streams: Streams,
    told: watch::Receiver<Option<Ending>>,
    begun: Instant,
    principal: Arc<Principal>,
    _place: Option<Place>,
}

impl Streams {
    /// Nothing is open yet.
    pub fn new(policy: Policy, auth: Authenticator) -> Self {
        let state = State { next: 0, draining: false, checked: Instant::now(), entries: HashMap::new() };
        Self { policy, auth, state: Arc::new(Mutex::new(state)) }
    }

    /// Opens one within the principal's tenant, for what this scope allows. `Quota` if the tenant has as many as it may.
    pub async fn open(&self, principal: &Principal, scope: Scope) -> Result<Open> {
        let within = self.policy.in_tenant(principal, scope)?;
        let place = self.policy.stream_place(within.tenant()).await?;
        Ok(self.enter(principal, scope, Some(place)))
    }

    /// Watches over a connection to what is open already.
    pub fn watch(&self, principal: &Principal, scope: Scope) -> Open {
        self.enter(principal, scope, None)
    }

    fn enter(&self, principal: &Principal, scope: Scope, place: Option<Place>) -> Open {
        let principal = Arc::new(principal.clone());
        let mut state = self.lock();
        let (tell, told) = watch::channel(state.draining.then_some(Ending::Draining));
        let number = state.next;
        state.next += 1;
        state.entries.insert(number, Entry { principal: Arc::clone(&principal), scope, tell });
        drop(state);
        Open { number, streams: self.clone(), told, begun: Instant::now(), principal, _place: place }
    }

    /// Ends those whose principals may not have them any more.
    pub async fn check(&self) {
        let open: Vec<(u64, Arc<Principal>, Scope)> = {
            let mut state = self.lock();
            if state.entries.is_empty() {
                state.checked = Instant::now();
                return;
            }
            let entries = state.entries.iter();
            entries.map(|(number, entry)| (*number, Arc::clone(&entry.principal), entry.scope)).collect()
        };
        match self.auth.held_by(open.iter().map(|(_, principal, _)| principal.as_ref())).await {
            Ok(held) => {
                let mut state = self.lock();
                state.checked = Instant::now();
                for (number, ..) in open.iter().filter(|(_, principal, scope)| !held.has(principal, *scope)) {
                    state.end(*number, Ending::Revoked);
                }
            }
            Err(error) => {
                let mut state = self.lock();
                if state.checked.elapsed() > UNCHECKED_FOR {
                    tracing::warn!(?error, streams = open.len(), "streams end: whether they may go on is not known");
                    open.iter().for_each(|(number, ..)| state.end(*number, Ending::Unchecked));
                }
            }
        }
    }

    /// The gateway ends: all that is open is told, and what is opened from now on at once.
    pub fn drain(&self) {
        let mut state = self.lock();
        state.draining = true;
        let numbers: Vec<u64> = state.entries.keys().copied().collect();
        numbers.into_iter().for_each(|number| state.end(number, Ending::Draining));
    }

    /// A map has no state between statements that a panic could break.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The first reason stays.
    fn end(&mut self, number: u64, ending: Ending) {
        if let Some(entry) = self.entries.get(&number) {
            entry.tell.send_if_modified(|told| told.replace(told.unwrap_or(ending)).is_none());
        }
    }
}

impl Open {
    /// Waits until it has to end.
    pub fn ended(&self) -> impl Future<Output = Ending> + Send + use<> {
        let mut told = self.told.clone();
        async move {
            match told.wait_for(Option::is_some).await.map(|told| *told) {
                Ok(Some(ending)) => ending,
                // Whoever holds it keeps the sender alive.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let entry = self.streams.lock().entries.remove(&self.number);
        let ending = entry.and_then(|entry| *entry.tell.borrow());
        tracing::info!(
            principal = %self.principal,
            duration_ms = self.begun.elapsed().as_millis() as u64,
            ending = ?ending,
            "a stream ended"
        );
    }
}
