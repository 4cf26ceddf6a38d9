//! One WebSocket, from the switch of protocols to the closing handshake.
//!
//! The handler is a future that talks through a [`Socket`] and returns how to close. Beside it run the pings, the watch
//! over a peer that is gone, and whatever ends the stream from outside; any of them drops the handler where it stands.
//! Nothing is queued: a message is sent once the peer takes it, and read once the handler asks, so that whoever is slow
//! slows the other side down.

use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message as Frame, Utf8Bytes};

use super::Ending;
use crate::domain;

/// Longest message taken, in bytes, and longest frame.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// How often the peer is asked whether it is there, and how long it may be silent.
const PING_EVERY: Duration = Duration::from_secs(20);
/// How often while nobody reads what it says, its farewell among it: that it is gone shows only where something is sent.
const PING_UNREAD_EVERY: Duration = Duration::from_secs(2);
const SILENCE: Duration = Duration::from_secs(60);
/// How long the closing handshake may take.
const CLOSING: Duration = Duration::from_secs(5);
/// What is read at once.
const READ_BUFFER: usize = 8 * 1024;

/// What both sides say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// UTF-8.
    Text(String),
    /// Anything.
    Binary(Bytes),
}

/// What comes from a peer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It said this.
    Message(Message),
    /// It has all that was sent before this mark.
    Marked(u64),
}

/// How a WebSocket closes (RFC 6455, 7.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    code: u16,
    reason: Cow<'static, str>,
}

/// The peer is gone or closing: nothing more can be sent.
#[derive(Debug)]
pub struct Gone;

/// Both directions; take it apart to use them side by side.
pub struct Socket {
    /// What goes to the peer.
    pub sender: Sender,
    /// What comes from it.
    pub receiver: Receiver,
}

/// Sends messages. Clones may be used at once; messages stay whole.
#[derive(Clone)]
pub struct Sender(Arc<Shared>);

/// Receives messages. While nobody asks for one, the peer is held up.
pub struct Receiver(Arc<Shared>);

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

type Stream = WebSocketStream<Box<dyn Duplex>>;

struct Shared {
    /// Locked for a poll and no longer.
    stream: Mutex<Stream>,
    /// One who writes at a time, for the stream wakes but one.
    writing: tokio::sync::Mutex<()>,
    life: Mutex<Life>,
}

struct Life {
    /// When the peer last showed that it is there.
    seen: Instant,
    /// Bytes that were sent since: before it answers it may have to read them.
    unanswered: u64,
    /// Whether somebody waits for a message.
    reading: bool,
    /// What the peer did wrong.
    fault: Option<Close>,
    /// With what code the peer closed, if it said one.
    closed: Option<Option<u16>>,
}

impl Life {
    fn was_silent_for_too_long(&self) -> bool {
        self.seen.elapsed() >= domain::patience(SILENCE, self.unanswered)
    }
}

impl Close {
    fn new(code: CloseCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code: code.into(), reason: reason.into() }
    }

    /// All is done. Reasons are at most 123 bytes.
    pub fn done(reason: impl Into<Cow<'static, str>>) -> Self {
        Self::new(CloseCode::Normal, reason)
    }

    /// The peer said what it must not.
    pub fn refused(reason: &'static str) -> Self {
        Self::new(CloseCode::Policy, reason)
    }

    /// The gateway or Podman failed.
    pub fn failed(reason: &'static str) -> Self {
        Self::new(CloseCode::Error, reason)
    }

    /// What a broken message means.
    fn blaming(error: &Error) -> Option<Self> {
        match error {
            Error::Capacity(_) => Some(Self::new(CloseCode::Size, "a message is 65536 bytes at most")),
            Error::Protocol(_) => Some(Self::new(CloseCode::Protocol, "this is not RFC 6455")),
            Error::Utf8(_) => Some(Self::new(CloseCode::Invalid, "a text message is UTF-8")),
            _ => None,
        }
    }
}

impl From<domain::Error> for Close {
    /// What ends a talk with something in a container.
    fn from(error: domain::Error) -> Self {
        match error.kind {
            domain::Kind::NotFound => Self::done("the container was removed"),
            domain::Kind::Conflict => Self::done("the container stopped"),
            _ => {
                tracing::warn!(?error, "a WebSocket broke off");
                Self::failed("Podman is out of reach")
            }
        }
    }
}

impl From<Ending> for Close {
    fn from(ending: Ending) -> Self {
        let code = match ending {
            Ending::Revoked => CloseCode::Policy,
            Ending::Unchecked => CloseCode::Again,
            Ending::Draining => CloseCode::Away,
        };
        Self::new(code, ending.reason())
    }
}

/// Talks over a connection whose protocol was switched, until `handler` returns, `ended` comes, or the peer is gone.
/// Gives how it closed; none if there was nobody to tell.
pub async fn serve<Handler: Future<Output = Close>>(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    ended: impl Future<Output = Ending>,
    handler: impl FnOnce(Socket) -> Handler,
) -> Option<Close> {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(READ_BUFFER)
        // Each message goes out as it is sent.
        .write_buffer_size(0);
    let io: Box<dyn Duplex> = Box::new(io);
    let stream = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
    let shared = Arc::new(Shared {
        stream: Mutex::new(stream),
        writing: tokio::sync::Mutex::new(()),
        life: Mutex::new(Life { seen: Instant::now(), unanswered: 0, reading: false, fault: None, closed: None }),
    });
    let socket = Socket { sender: Sender(Arc::clone(&shared)), receiver: Receiver(Arc::clone(&shared)) };
    let close = tokio::select! {
        biased;
        ending = ended => Some(Close::from(ending)),
        () = shared.watch() => None,
        close = handler(socket) => Some(shared.life().fault.take().unwrap_or(close)),
    };
    if let Some(close) = &close {
        let _ = timeout(CLOSING, shared.close(close)).await;
    }
    close
}

impl Receiver {
    /// The next message; none once the peer closes or is gone. May be dropped and asked again.
    pub async fn next(&mut self) -> Option<Message> {
        loop {
            if let Heard::Message(message) = self.hear().await? {
                return Some(message);
            }
        }
    }

    /// Whether the peer said that it is done, and not only that it goes away.
    pub fn was_closed_for_good(&self) -> bool {
        matches!(self.0.life().closed, Some(None | Some(1000)))
    }

    /// The next message, or which mark the peer has passed, in the same way.
    pub async fn hear(&mut self) -> Option<Heard> {
        let _asking = Asking(&self.0);
        loop {
            let frame = poll_fn(|cx| {
                let polled = self.0.stream().poll_next_unpin(cx);
                let mut life = self.0.life();
                life.reading = polled.is_pending();
                if polled.is_ready() {
                    (life.seen, life.unanswered) = (Instant::now(), 0);
                }
                polled
            });
            match frame.await? {
                Ok(Frame::Text(text)) => return Some(Heard::Message(Message::Text(text.as_str().to_owned()))),
                Ok(Frame::Binary(bytes)) => return Some(Heard::Message(Message::Binary(bytes))),
                Ok(Frame::Pong(mark)) if mark.len() == size_of::<u64>() => {
                    let mark = mark.as_ref().try_into().map(u64::from_be_bytes);
                    return Some(Heard::Marked(mark.unwrap_or_default()));
                }
                // Pings are answered by the library.
                Ok(Frame::Ping(_) | Frame::Pong(_) | Frame::Frame(_)) => {}
                Ok(Frame::Close(frame)) => {
                    self.0.life().closed = Some(frame.map(|frame| frame.code.into()));
                    return None;
                }
                Err(error) => {
                    self.0.life().fault = Close::blaming(&error);
                    return None;
                }
            }
        }
    }
}

/// Somebody waits for a message, until this is dropped.
struct Asking<'a>(&'a Shared);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.life().reading = false;
    }
}

impl Sender {
    /// Sends a message; back once the peer's side took it. One that is dropped on the way is sent or not, and whole.
    pub async fn send(&self, message: Message) -> Result<(), Gone> {
        let frame = match message {
            Message::Text(text) => Frame::Text(text.into()),
            Message::Binary(bytes) => Frame::Binary(bytes),
        };
        let bytes = frame.len() as u64;
        let _writing = self.0.writing.lock().await;
        self.0.send(frame).await.map_err(|_| Gone)?;
        let mut life = self.0.life();
        life.seen = Instant::now();
        life.unanswered = life.unanswered.saturating_add(bytes);
        Ok(())
    }

    /// Sets a mark: the peer says when it has all that was sent before. It is a ping, which every peer answers.
    pub async fn mark(&self, mark: u64) -> Result<(), Gone> {
        let _writing = self.0.writing.lock().await;
        self.0.send(Frame::Ping(Bytes::copy_from_slice(&mark.to_be_bytes()))).await.map_err(|_| Gone)
    }
}

impl Shared {
    /// Only for who holds `writing`.
    async fn send(&self, frame: Frame) -> Result<(), Error> {
        let mut frame = Some(frame);
        poll_fn(|cx| self.stream().poll_ready_unpin(cx)).await?;
        if let Some(frame) = frame.take() {
            Pin::new(&mut *self.stream()).start_send(frame)?;
        }
        poll_fn(|cx| self.stream().poll_flush_unpin(cx)).await
    }

    /// Asks now and then whether the peer is there; back when it was silent for too long, or cannot be reached.
    async fn watch(&self) {
        let mut asked = Instant::now();
        loop {
            sleep(PING_UNREAD_EVERY).await;
            if self.life().reading && asked.elapsed() < PING_EVERY {
                continue;
            }
            asked = Instant::now();
            let Ok(_writing) = self.writing.try_lock() else {
                // It does not take what is being sent.
                if self.life().was_silent_for_too_long() {
                    return;
                }
                continue;
            };
            {
                let mut life = self.life();
                // What nobody reads cannot have been heard.
                if !life.reading {
                    life.seen = Instant::now();
                }
                if life.was_silent_for_too_long() {
                    return;
                }
            }
            if let Ok(Err(_)) = timeout(PING_EVERY, self.send(Frame::Ping(Bytes::new()))).await {
                return;
            }
        }
    }

    /// Says why, and waits for the peer's answer.
    async fn close(&self, close: &Close) {
        let _writing = self.writing.lock().await;
        let frame = CloseFrame { code: close.code.into(), reason: Utf8Bytes::from(close.reason.as_ref()) };
        // A peer that closed first has been answered by the library.
        let _ = self.send(Frame::Close(Some(frame))).await;
        while let Some(Ok(_)) = poll_fn(|cx| self.stream().poll_next_unpin(cx)).await {}
    }

    fn stream(&self) -> MutexGuard<'_, Stream> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn life(&self) -> MutexGuard<'_, Life> {
        self.life.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
