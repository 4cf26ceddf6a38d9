//! What happens to the tenant's containers, as it happens.

use futures_util::StreamExt;
use poem_openapi::param::Header;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi, Union};

use super::caller::{Caller, ContainersRead};
use super::error::invalid_parameter;
use super::sse::{self, EndReason, StreamEnd, Told};
use super::{Context, Tag};
use crate::domain::{Result, timestamp_ms};
use crate::lifecycle::Heard;

pub struct Events(pub Context);

/// Something happened to a container. The event's name is its type.
#[derive(Object)]
#[oai(skip_serializing_if_is_none, example)]
struct ContainerEvent {
    /// `created`, `started`, `restarted`, `paused`, `unpaused`, `died` (its main process ended; not told of one that
    /// is restarted, removed or expires while it runs), `stopped` (at somebody's wish), `expired` or `removed`.
    #[oai(rename = "type")]
    kind: String,
    /// The container's name.
    container: String,
    /// The 12 digits of its id.
    container_id: String,
    /// Of a main process that ended, where it is known.
    exit_code: Option<i64>,
    /// When it was noted, RFC 3339.
    time: String,
    #[oai(skip)]
    id: String,
}

impl Example for ContainerEvent {
    fn example() -> Self {
        Self {
            kind: "died".into(),
            container: "web".into(),
            container_id: "3f4e8a1b2c6d".into(),
            exit_code: Some(0),
            time: "2025-01-19T15:47:19.123000Z".into(),
            id: String::new(),
        }
    }
}

/// Events were missed, event `gap`: they are kept for an hour, and so many.
#[derive(Object)]
#[oai(example)]
struct EventGap {
    /// What happened.
    message: String,
}

impl Example for EventGap {
    fn example() -> Self {
        Self { message: "what happened in between is not kept any more".into() }
    }
}

/// What a listener is told.
#[derive(Union)]
enum EventTold {
    Event(ContainerEvent),
    Gap(EventGap),
    End(StreamEnd),
}

impl Told for EventTold {
    fn name(&self) -> String {
        match self {
            Self::Event(event) => event.kind.clone(),
            Self::Gap(_) => "gap".into(),
            Self::End(_) => "end".into(),
        }
    }

    fn id(&self) -> Option<String> {
        match self {
            Self::Event(event) => Some(event.id.clone()),
            Self::Gap(_) | Self::End(_) => None,
        }
    }
}

impl From<StreamEnd> for EventTold {
    fn from(end: StreamEnd) -> Self {
        Self::End(end)
    }
}

#[OpenApi(tag = "Tag::Containers")]
impl Events {
    /// Listen to what happens
    ///
    /// Server-sent events of the caller's tenant's containers from now on, whoever brings them about and on whichever
    /// gateway; or, with `Last-Event-ID`, behind that one. The last event is `end`.
    #[oai(path = "/events", method = "get", operation_id = "listenToEvents")]
    async fn listen(
        &self,
        who: Caller<ContainersRead>,
        /// The `id` of the last event that came.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> poem::Result<sse::Events<EventTold>> {
        let after = last_event_id.0.filter(|id| !id.is_empty()).map(|id| {
            let number = id.parse::<u32>().ok().filter(|_| id.bytes().all(|byte| byte.is_ascii_digit()));
            number.map(i64::from).ok_or_else(|| invalid_parameter("Last-Event-ID", "is not one that an event had"))
        });
        let after = after.transpose()?;
        let grant = self.0.policy.in_tenant(who.principal(), who.scope())?;
        let open = self.0.streams.open(who.principal(), who.scope()).await?;
        let heard = self.0.lifecycle.events(&grant, after).await?;
        Ok(sse::events(open, heard.map(told)))
    }
}

fn told(heard: Result<Heard>) -> EventTold {
    match heard {
        Ok(Heard::Event(event)) => EventTold::Event(ContainerEvent {
            kind: event.kind.as_str().into(),
            container: event.container,
            container_id: event.container_id,
            exit_code: event.exit_code,
            time: timestamp_ms(event.at_ms),
            id: event.number.to_string(),
        }),
        Ok(Heard::Gap) => EventTold::Gap(EventGap::example()),
        Err(error) => {
            tracing::warn!(?error, "events are heard no longer");
            EventTold::End(EndReason::Failed.into())
        }
    }
}
