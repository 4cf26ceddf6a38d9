//! The life of one connection: TLS handshake, HTTP, deadlines, drain.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};

use hyper::service::service_fn;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto::Builder, graceful::GracefulConnection},
};
use poem::{Endpoint, http::uri::Scheme};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::watch,
    time::{Instant, sleep_until, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{
    Phase,
    activity::{Activity, Expiry},
    exchange::{self, Origin},
    limits::Limits,
    slots::Slot,
    socket::{Socket, reached},
};
use crate::domain::World;
use crate::metrics::Connections;

/// How often a peer on HTTP/2 is asked whether it is still there, and how long it may take to say so.
const PING_EVERY: Duration = Duration::from_secs(30);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// What all connections have in common.
pub(super) struct Shared<E> {
    endpoint: Arc<E>,
    limits: Limits,
    builder: Builder<TokioExecutor>,
    world: World,
    connections: Connections,
}

/// A connection that was accepted.
pub(super) struct Accepted {
    pub socket: TcpStream,
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub tls: Option<TlsAcceptor>,
    pub slot: Slot,
}

impl<E: Endpoint + 'static> Shared<E> {
    pub fn new(endpoint: E, limits: Limits, world: World, connections: Connections) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        let mut http1 = builder.http1();
        http1
            .timer(TokioTimer::new())
            // Behind our own deadlines (`activity`), which are exact: it covers idle waiting and the head together.
            .header_read_timeout(limits.idle + limits.header)
            .max_buf_size(limits.http1_buffer());
        if limits.max_headers != 100 {
            // 100 is hyper's own limit, for which it needs no allocation.
            http1.max_headers(limits.max_headers);
        }
        // h2's limits on resets (CVE-2023-44487 and its kin) stay as they are: 20 pending and 1024 of our own making.
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_streams)
            .max_header_list_size(limits.http2_header_list())
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PONG_WITHIN);
        Self { endpoint: Arc::new(endpoint), limits, builder, world, connections }
    }

    /// Serves the connection to its end.
    pub async fn serve(self: Arc<Self>, accepted: Accepted, phase: watch::Receiver<Phase>) {
        let Accepted { socket, peer, local, tls, slot } = accepted;
        // Without it a small write waits for the peer's delayed acknowledgement, 40 ms.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!(peer.address = %peer, %error, "cannot set TCP_NODELAY");
        }
        let local = socket.local_addr().unwrap_or(local);
        let origin = |scheme| Origin { local, peer, scheme };
        let Some(tls) = tls else {
            return self.http(socket, origin(Scheme::HTTP), slot, phase).await;
        };
        // In boxes, so that a connection does not keep room for what only others need: TLS state takes kilobytes.
        let handshake = Box::pin(handshake(tls, socket, peer, self.limits.handshake));
        let stopping = reached(phase.clone(), Phase::Draining);
        let socket = tokio::select! {
            socket = handshake => {
                if socket.is_none() {
                    self.connections.failed_handshakes.inc();
                }
                socket
            }
            () = stopping => None,
        };
        if let Some(socket) = socket {
            self.http(socket, origin(Scheme::HTTPS), slot, phase).await;
        }
    }

    async fn http<S>(&self, socket: S, origin: Origin, slot: Slot, phase: watch::Receiver<Phase>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let peer = origin.peer;
        let activity = Activity::new(&self.limits);
        let socket = Socket::new(socket, Arc::clone(&activity), phase.clone(), slot, (peer.ip(), self.world));
        let service = service_fn({
            let (endpoint, activity) = (Arc::clone(&self.endpoint), Arc::clone(&activity));
            let (max_headers, world) = (self.limits.max_headers, self.world);
            move |request| exchange::answer(request, Arc::clone(&endpoint), &origin, &activity, max_headers, world)
        });
        // In a box for the same reason: the task would keep room for every place that it is moved through.
        let mut connection = Box::pin(self.builder.serve_connection_with_upgrades(TokioIo::new(socket), service));
        match drive(connection.as_mut(), &activity, phase).await {
            End::Closed => {}
            End::Late(why) => tracing::debug!(peer.address = %peer, why, "dropped a connection"),
            End::Cut => tracing::debug!(peer.address = %peer, "cut a connection"),
            End::Failed(error) => tracing::debug!(peer.address = %peer, %error, "connection failed"),
        }
    }
}

async fn handshake(
    tls: TlsAcceptor,
    socket: TcpStream,
    peer: SocketAddr,
    deadline: Duration,
) -> Option<Box<TlsStream<TcpStream>>> {
    match timeout(deadline, tls.accept(socket)).await {
        Ok(Ok(socket)) => return Some(Box::new(socket)),
        Ok(Err(error)) => tracing::debug!(peer.address = %peer, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(peer.address = %peer, "TLS handshake not done in time"),
    }
    None
}

enum End<Error> {
    Closed,
    Failed(Error),
    Late(&'static str),
    Cut,
}

enum Event<Error> {
    Done(Result<(), Error>),
    Phase,
    Expired(Expiry),
}

/// Polls a connection and holds it to its deadlines. It is to be dropped, hence closed, when this returns.
async fn drive<C: GracefulConnection>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    phase: watch::Receiver<Phase>,
) -> End<C::Error> {
    let mut draining = pin!(reached(phase.clone(), Phase::Draining));
    let mut cut = pin!(reached(phase, Phase::Cut));
    let mut drained = false;
    let mut alarm = pin!(sleep_until(activity.deadline(Instant::now()).0));
    loop {
        let event = poll_fn(|cx| {
            if let Poll::Ready(result) = connection.as_mut().poll(cx) {
                return Poll::Ready(Event::Done(result));
            }
            let told = if drained { cut.as_mut().poll(cx) } else { draining.as_mut().poll(cx) };
            if told.is_ready() {
                return Poll::Ready(Event::Phase);
            }
            // Polling the connection may have brought the deadline nearer, never without passing here. A deadline that
            // moved away is found when the alarm rings, so that a busy connection costs no timer.
            loop {
                let now = Instant::now();
                let (at, expiry) = activity.deadline(now);
                if at <= now {
                    return Poll::Ready(Event::Expired(expiry));
                }
                if at < alarm.deadline() {
                    alarm.as_mut().reset(at);
                }
                if alarm.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                alarm.as_mut().reset(at);
            }
        })
        .await;
        match event {
            Event::Done(Ok(())) => return End::Closed,
            Event::Done(Err(error)) => return End::Failed(error),
            Event::Phase if drained => return End::Cut,
            Event::Phase => {
                drained = true;
                activity.close();
                connection.as_mut().graceful_shutdown();
            }
            Event::Expired(Expiry::Look) => {}
            Event::Expired(Expiry::Idle) => {
                activity.close();
                connection.as_mut().graceful_shutdown();
            }
            Event::Expired(Expiry::Late(why)) => return End::Late(why),
        }
    }
}
