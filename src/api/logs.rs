//! What a container wrote, and what it writes.

use futures_util::StreamExt;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, ResponseContent, Union};

use super::caller::{Caller, ContainersRead};
use super::error::invalid_parameter;
use super::model::answer;
use super::parameter::Flag;
use super::sse::{EndReason, Events, StreamEnd, Told, events};
use super::{Context, Tag};
use crate::domain::{LogPosition, Result, timestamp_ms};
use crate::engine::{Followed, LogPiece, LogRequest, LogStart, Output};
use crate::policy::Read;

pub struct Logs(pub Context);

/// What a container wrote.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct ContainerLogs {
    /// UTF-8; what was not is replaced.
    logs: String,
    /// True where older lines that were asked for are missing, to keep the answer within the gateway's bound.
    truncated: Option<bool>,
}

answer! {
    /// The container's log.
    ContainerLogsResponse { container: ContainerLogs }
    example ContainerLogs { logs: "listening on 80\n".into(), truncated: None }
}

/// Which output of the main process.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
enum LogOutput {
    Stdout,
    Stderr,
}

/// A line with its end, or a part of one as it was written; event `log`.
#[derive(Object)]
#[oai(skip_serializing_if_is_none, example)]
struct LogLine {
    /// UTF-8; what was not is replaced. All of them in a row are the log.
    text: String,
    /// Where it was written to.
    output: LogOutput,
    /// When, to the second, RFC 3339; with `timestamps`.
    time: Option<String>,
    #[oai(skip)]
    id: String,
}

impl Example for LogLine {
    fn example() -> Self {
        let text = "listening on 80\n".into();
        Self { text, output: LogOutput::Stdout, time: Some("2025-01-19T15:47:19.000000Z".into()), id: String::new() }
    }
}

/// The log was begun anew meanwhile, event `gap`: lines before this may be missing, or come twice.
#[derive(Object)]
#[oai(example)]
struct LogGap {
    /// What happened.
    message: String,
}

impl Example for LogGap {
    fn example() -> Self {
        Self { message: "the log was begun anew; lines may be missing".into() }
    }
}

/// What is told of a log that is followed.
#[derive(Union)]
enum LogEvent {
    Line(LogLine),
    Gap(LogGap),
    End(StreamEnd),
}

impl Told for LogEvent {
    fn name(&self) -> String {
        let name = match self {
            Self::Line(_) => "log",
            Self::Gap(_) => "gap",
            Self::End(_) => "end",
        };
        name.to_owned()
    }

    fn id(&self) -> Option<String> {
        match self {
            Self::Line(line) => Some(line.id.clone()),
            Self::Gap(_) | Self::End(_) => None,
        }
    }
}

impl From<StreamEnd> for LogEvent {
    fn from(end: StreamEnd) -> Self {
        Self::End(end)
    }
}

#[derive(ResponseContent)]
enum LogsContent {
    Once(Json<ContainerLogsResponse>),
    Followed(Events<LogEvent>),
}

#[derive(ApiResponse)]
enum LogsAnswer {
    /// The log; with `follow`, events: `log`, `gap`, and at last `end`.
    #[oai(status = 200)]
    Logs(LogsContent),
}

#[OpenApi(tag = "Tag::Containers")]
impl Logs {
    /// Read a container's log
    ///
    /// What its main process wrote, both streams in the order they came. With `follow`, it goes on as server-sent events
    /// until the container ends; the `id` of the last one, sent as `Last-Event-ID`, continues behind it.
    #[oai(path = "/containers/:name/logs", method = "get", operation_id = "getContainerLogs")]
    #[allow(clippy::too_many_arguments)] // each is a parameter of the request
    async fn logs(
        &self,
        who: Caller<ContainersRead>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// The last so many lines.
        #[oai(default = "default_tail", validator(maximum(value = "10000")))]
        tail: Query<u32>,
        /// Only lines from then on, seconds since 1970.
        #[oai(validator(minimum(value = "0"), maximum(value = "253402300799")))]
        since: Query<Option<i64>>,
        /// Say when each line was written: true, false, 1 or 0.
        #[oai(default)]
        timestamps: Query<Flag>,
        /// Go on as events: true, false, 1 or 0.
        #[oai(default)]
        follow: Query<Flag>,
        /// With `follow`: the `id` of the last event that came. `tail` and `since` count for nothing then.
        #[oai(name = "Last-Event-ID")]
        last_event_id: Header<Option<String>>,
    ) -> poem::Result<LogsAnswer> {
        let behind = last_event_id.0.filter(|id| follow.0.0 && !id.is_empty());
        let behind = behind.as_deref().map(str::parse::<LogPosition>).transpose();
        let behind = behind.map_err(|message| invalid_parameter("Last-Event-ID", &message))?;
        let grant = self.0.policy.container(who.principal(), who.scope(), Read, &name).await?;
        if !follow.0.0 {
            let request = LogRequest { tail: tail.0, since: since.0, timestamps: timestamps.0.0 };
            let (logs, lane) = self.0.engine.logs(&grant, &request, self.0.engine.deadline()).await?;
            who.holds(lane);
            let truncated = logs.truncated.then_some(true);
            let answer = ContainerLogsResponse::of(ContainerLogs { logs: logs.text, truncated });
            return Ok(LogsAnswer::Logs(LogsContent::Once(answer)));
        }
        let start = behind.map_or(LogStart::Last(tail.0, since.0), LogStart::Behind);
        let open = self.0.streams.open(who.principal(), who.scope()).await?;
        // Whatever can be refused is refused before the first event.
        self.0.engine.status(&grant, self.0.engine.deadline()).await?;
        let used = self.0.lifecycle.use_until_dropped(&grant);
        let followed = self.0.engine.follow_log(grant, start);
        let told = followed.map(move |followed| {
            let _used = &used;
            event(followed, timestamps.0.0)
        });
        Ok(LogsAnswer::Logs(LogsContent::Followed(events(open, told))))
    }
}

fn event(followed: Result<Followed>, timestamps: bool) -> LogEvent {
    let reason = match followed {
        Ok(Followed::Piece(LogPiece { position, output, text })) => {
            let output = match output {
                Output::Stdout => LogOutput::Stdout,
                Output::Stderr => LogOutput::Stderr,
            };
            let time = timestamps.then(|| timestamp_ms(position.second.saturating_mul(1000)));
            return LogEvent::Line(LogLine { text, output, time, id: position.to_string() });
        }
        Ok(Followed::Gap) => return LogEvent::Gap(LogGap::example()),
        Ok(Followed::Stopped) => EndReason::Stopped,
        Ok(Followed::Gone) => EndReason::Gone,
        Err(error) => {
            tracing::warn!(?error, "a log is followed no longer");
            EndReason::Failed
        }
    };
    LogEvent::End(reason.into())
}

fn default_tail() -> u32 {
    100
}
