//! Takes connections, as many as the caps allow, and backs off when the system can't give more.

use std::{
    future::poll_fn,
    io::{self, ErrorKind},
    net::SocketAddr,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use poem::Endpoint;
use tokio::{
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep},
};

use super::{
    Bound, Phase,
    connection::{Accepted, Shared},
    slots::{Opening, Slots},
};

/// The first pause after an error; it doubles up to the longest.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often at most it is logged that all connections are taken.
const FULL_EVERY: Duration = Duration::from_secs(10);

/// One loop for all listeners, so that the cap on connections is exact: an opening is taken before anyone is let in.
pub(super) struct Acceptor<E> {
    bound: Vec<Bound>,
    slots: Arc<Slots>,
    shared: Arc<Shared<E>>,
    phase: watch::Receiver<Phase>,
    /// Which listener is asked first.
    next: usize,
    /// When it was last logged that no connection is free.
    full: Option<Instant>,
}

impl<E: Endpoint + 'static> Acceptor<E> {
    pub fn new(bound: Vec<Bound>, slots: Arc<Slots>, shared: Arc<Shared<E>>, phase: watch::Receiver<Phase>) -> Self {
        Self { bound, slots, shared, phase, next: 0, full: None }
    }

    /// Never ends by itself; dropping it closes the listeners.
    pub async fn run(mut self) {
        let mut backoff = Backoff::default();
        while let Some(opening) = self.opening().await {
            let (at, result) = self.accept().await;
            match result {
                Ok((socket, peer)) => {
                    backoff.over();
                    self.admit(at, socket, peer, opening);
                }
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => sleep(backoff.pause(&error)).await,
            }
        }
    }

    async fn opening(&mut self) -> Option<Opening> {
        if let Some(opening) = self.slots.try_open() {
            return Some(opening);
        }
        if self.full.is_none_or(|logged| logged.elapsed() > FULL_EVERY) {
            self.full = Some(Instant::now());
            tracing::warn!(
                serve.connections = self.slots.taken(),
                "all connections are taken; further ones wait in the system's queue"
            );
        }
        self.slots.open().await
    }

    /// The next connection of any listener, each in its turn.
    async fn accept(&mut self) -> (usize, io::Result<(TcpStream, SocketAddr)>) {
        let (first, count) = (self.next, self.bound.len());
        let (at, result) = poll_fn(|cx| {
            for at in (first..first + count).map(|at| at % count) {
                if let Poll::Ready(result) = self.bound[at].listener.poll_accept(cx) {
                    return Poll::Ready((at, result));
                }
            }
            Poll::Pending
        })
        .await;
        self.next = (at + 1) % count;
        (at, result)
    }

    fn admit(&self, at: usize, socket: TcpStream, peer: SocketAddr, opening: Opening) {
        let bound = &self.bound[at];
        // On a socket that takes both families an IPv4 peer appears as ::ffff:a.b.c.d.
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let Some(slot) = self.slots.take(opening, peer.ip()) else {
            tracing::debug!(peer.address = %peer, "refused a connection: its address has its share");
            return;
        };
        let accepted = Accepted {
            socket,
            peer,
            local: bound.local,
            tls: bound.tls.as_ref().map(|(acceptor, _)| acceptor.clone()),
            slot,
        };
        tokio::spawn(Arc::clone(&self.shared).serve(accepted, self.phase.clone()));
    }
}

/// Errors of a connection that died in the queue; accept(2) asks to treat them as if nothing had come.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionRefused
            | ErrorKind::ConnectionReset
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
            | ErrorKind::NetworkDown
            | ErrorKind::Interrupted
    )
}

/// Pauses between attempts while the system gives no connection, typically for want of file descriptors (EMFILE).
/// The connection stays in the queue, so that accepting again at once would fail again at once.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// The next pause. The first of a row is logged, and its end.
    pub fn pause(&mut self, error: &io::Error) -> Duration {
        if self.last.is_none() {
            tracing::error!(%error, "cannot accept connections; trying again after a pause");
        }
        let pause = self.last.map_or(PAUSE_MIN, |last| (last * 2).min(PAUSE_MAX));
        self.last = Some(pause);
        pause
    }

    pub fn over(&mut self) {
        if self.last.take().is_some() {
            tracing::info!("accepting connections again");
        }
    }
}
