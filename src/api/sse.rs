//! Server-sent events that stay open: a place of the tenant's, a sign of life, and an end with a reason.
//!
//! An operation opens with `Context::streams` and answers with [`events`]. Nothing is queued: the next event is asked for
//! when the client's side took the last one.

use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use poem::web::sse::Event;
use poem_openapi::payload::EventStream;
use poem_openapi::types::{Example, ToJSON, Type};
use poem_openapi::{Enum, Object};

use crate::domain::{Error, Kind};
use crate::streams::{Ending, Open};

/// How often a stream that has nothing to tell shows that it lives.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// What an operation answers with.
pub(super) type Events<T> = EventStream<BoxStream<'static, T>>;

/// Why a stream is over.
#[derive(Enum, Clone, Copy, Debug, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
pub(super) enum EndReason {
    /// The container does not run.
    Stopped,
    /// The container was removed.
    Gone,
    /// Podman or the store failed; the gateway's log has the reason. Come again, with the last `id` where there is one.
    Failed,
    /// The session, key or account is over, or lost the scope.
    Revoked,
    /// Whether it may go on could not be looked up for a while. Come again.
    Unchecked,
    /// The gateway ends. Come again.
    Draining,
}

impl EndReason {
    /// What an error says that ends a stream of something in a container.
    pub(super) fn of(error: &Error) -> Self {
        match error.kind {
            Kind::Conflict => Self::Stopped,
            Kind::NotFound => Self::Gone,
            _ => {
                tracing::warn!(?error, "a stream broke off");
                Self::Failed
            }
        }
    }
}

/// The last event of a stream, `end`.
#[derive(Object)]
#[oai(example)]
pub(super) struct StreamEnd {
    /// Why.
    reason: EndReason,
}

impl Example for StreamEnd {
    fn example() -> Self {
        Self { reason: EndReason::Draining }
    }
}

impl From<EndReason> for StreamEnd {
    fn from(reason: EndReason) -> Self {
        Self { reason }
    }
}

impl From<Ending> for StreamEnd {
    fn from(ending: Ending) -> Self {
        Self::from(match ending {
            Ending::Revoked => EndReason::Revoked,
            Ending::Unchecked => EndReason::Unchecked,
            Ending::Draining => EndReason::Draining,
        })
    }
}

/// Something that a stream tells.
pub(super) trait Told: Type + ToJSON + Send + 'static {
    /// The event's name.
    fn name(&self) -> String;

    /// What `Last-Event-ID` may say to go on behind it.
    fn id(&self) -> Option<String> {
        None
    }
}

/// Tells what comes, until it is over by itself or `open` ends.
pub(super) fn events<T: Told + From<StreamEnd>>(open: Open, told: impl Stream<Item = T> + Send + 'static) -> Events<T> {
    ending_with(open, told, |ending| StreamEnd::from(ending).into())
}

/// The same with a last event of its own for the end from outside.
pub(super) fn ending_with<T: Told>(
    open: Open,
    told: impl Stream<Item = T> + Send + 'static,
    end: impl Fn(Ending) -> T + Send + 'static,
) -> Events<T> {
    let ended: BoxFuture<'static, Ending> = Box::pin(open.ended());
    let events = stream::unfold(Some((told.boxed(), ended, open, end)), |state| async {
        let (mut told, mut ended, open, end) = state?;
        tokio::select! {
            biased;
            ending = &mut ended => Some((end(ending), None)),
            next = told.next() => Some((next?, Some((told, ended, open, end)))),
        }
    });
    let to_event = |told: T| {
        let event = Event::message(told.to_json_string()).event_type(told.name());
        match told.id() {
            Some(id) => event.id(id),
            None => event,
        }
    };
    EventStream::new(events.boxed()).to_event(to_event).keep_alive(HEARTBEAT)
}
