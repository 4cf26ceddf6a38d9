//! The way in: binds the configured addresses, accepts connections and hands their requests to one poem endpoint.
//!
//! poem's own server is not used, because on an open port it has no deadline for HTTP/1 headers, spins when file
//! descriptors run out and loses TLS when a renewed certificate is broken.
//!
//! | file | its one job |
//! |---|---|
//! | `bind` | addresses and certificates, all or nothing |
//! | `tls` | a certificate that can be read again while connections are served |
//! | `renewal` | notices that a certificate's files were changed |
//! | `accept` | takes connections, as many as the caps allow, and backs off when the system can't give more |
//! | `files` | how many connections the limit of open files allows |
//! | `slots` | how many connections there are, in all and from one network |
//! | `connection` | the life of one connection: TLS handshake, HTTP, deadlines, drain |
//! | `activity` | what a connection is doing, and the instant by which it must have done it |
//! | `head` | sees what hyper hides: a request head whose framing is ambiguous |
//! | `socket` | feeds `activity` and `head` from the bytes that pass, and puts words to hyper's refusals |
//! | `exchange` | one request and its response |
//! | `refusal` | requests that never reach the endpoint, answered in the envelope of the API |
//! | `upload` | a request body, read on for a moment when nobody wants the rest |
//!
//! What it leaves to others: limits and deadlines of bodies, authentication, rate limits, panics of the endpoint.
//! A handler's future is dropped when its client hangs up (hyper's rule, HTTP/1 and 2 alike): whatever must be
//! finished once begun runs in a task of its own.

mod accept;
mod activity;
mod bind;
mod connection;
mod exchange;
mod files;
mod head;
mod limits;
mod refusal;
mod renewal;
mod slots;
mod socket;
mod tls;
mod upload;

#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc, time::Duration};

use tokio::{pin, sync::watch, task::JoinSet};

use crate::config::Http;
use crate::domain::World;
use crate::metrics::Connections;

use self::{accept::Acceptor, connection::Shared, limits::Limits, slots::Slots};
pub use self::{
    bind::{Bound, ServeError, bind},
    files::{connections_within, fitted, most_open_files},
    tls::Certificate,
};

/// How long connections that were cut get to notice it, so that what they hold is released before `run` returns.
const AFTER_CUT: Duration = Duration::from_secs(1);

/// What every connection is told about the server's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    /// Finish the requests that run; take no more.
    Draining,
    /// Stop now.
    Cut,
}

/// Serves until `shutdown` resolves, then stops accepting, lets running requests finish for at most
/// `http.drain_seconds`, and returns how many connections had to be cut.
///
/// The ports are closed before the drain begins, so that a new connection is refused at once. Connections without a
/// running request are closed at once. Upgraded connections (WebSockets) count as running.
/// Dropping the future cuts everything.
pub async fn run<E: poem::Endpoint + 'static>(
    bound: Vec<Bound>,
    endpoint: E,
    http: &Http,
    world: World,
    connections: Connections,
    shutdown: impl Future<Output = ()>,
) -> usize {
    serve(bound, endpoint, Limits::from(http), world, connections, shutdown).await
}

async fn serve<E: poem::Endpoint + 'static>(
    bound: Vec<Bound>,
    endpoint: E,
    limits: Limits,
    world: World,
    connections: Connections,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let (phase, told) = watch::channel(Phase::Serving);
    let slots = Slots::new(limits.max_connections, limits.max_connections_per_address, connections.clone());
    let certificates: Vec<_> = bound.iter().filter_map(Bound::certificate).collect();
    let drain = limits.drain;
    let shared = Arc::new(Shared::new(endpoint, limits, world, connections));

    // In tasks of their own, so that accepting runs on the worker threads whatever thread polls this future.
    let mut background = JoinSet::new();
    background.spawn(Acceptor::new(bound, Arc::clone(&slots), shared, told).run());
    background.spawn(renewal::watch(certificates));

    pin!(shutdown);
    tokio::select! {
        () = &mut shutdown => {}
        // Neither ever ends by itself; a gateway that can't accept must not look alive.
        Some(ended) = background.join_next() => tracing::error!(serve.ended = ?ended, "a serving task ended; shutting down"),
    }

    background.shutdown().await; // drops the listeners: from here on connecting is refused
    phase.send_replace(Phase::Draining);
    tracing::info!(
        serve.connections = slots.taken(),
        serve.drain_seconds = drain.as_secs(),
        "stopped accepting; draining"
    );
    if tokio::time::timeout(drain, slots.all_free()).await.is_ok() {
        return 0;
    }

    let cut = slots.taken();
    phase.send_replace(Phase::Cut);
    tracing::warn!(serve.cut = cut, "drain time is over; cut what was left");
    let _ = tokio::time::timeout(AFTER_CUT, slots.all_free()).await;
    cut
}
