//! Commands whose output is told as it comes.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream::{self, Stream};
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object, OpenApi, Union};

use super::caller::{Caller, Exec as ExecScope};
use super::exec::ExecRequest;
use super::json::Strict;
use super::sse::{EndReason, Events, StreamEnd, Told, events};
use super::{Context, Tag};
use crate::domain::Beginning;
use crate::engine::{ExecRequest as EngineRequest, Exit, LiveExec, Output, Told as Heard};
use crate::policy::Change;

pub struct ExecStream(pub Context);

/// How bytes are written as text.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
enum OutputEncoding {
    /// As they are.
    Utf8,
    /// Those that are not UTF-8.
    Base64,
}

/// What the command wrote; events `stdout` and `stderr`.
#[derive(Object)]
#[oai(example)]
struct ExecOutput {
    /// Some of it: all of them in a row are the output, byte for byte.
    data: String,
    /// How to read `data`.
    encoding: OutputEncoding,
    #[oai(skip)]
    output: Option<Output>,
}

impl Example for ExecOutput {
    fn example() -> Self {
        Self { data: "hello\n".into(), encoding: OutputEncoding::Utf8, output: None }
    }
}

impl ExecOutput {
    fn of(output: Output, bytes: &[u8]) -> Self {
        let (data, encoding) = match std::str::from_utf8(bytes) {
            Ok(text) => (text.to_owned(), OutputEncoding::Utf8),
            Err(_) => (STANDARD.encode(bytes), OutputEncoding::Base64),
        };
        Self { data, encoding, output: Some(output) }
    }
}

/// How the command ended; event `exit`, the last.
#[derive(Object)]
#[oai(example)]
struct ExecExit {
    /// The command's exit code, 128 and the signal's number where a signal ended it; -1 where the command did not end in
    /// time or said too much.
    exit_code: i64,
    /// Whether the exit code is 0.
    success: bool,
    /// Whether it said more than it may.
    truncated: bool,
    /// Whether the deadline came before the end.
    timed_out: bool,
    /// Whether the command and all that it started are sure to be gone.
    supervised: bool,
    /// How many processes had to be killed, as far as is known.
    killed: u32,
    /// Milliseconds from request to end.
    duration_ms: u64,
}

impl Example for ExecExit {
    fn example() -> Self {
        let (exit_code, duration_ms) = (0, 61);
        Self { exit_code, success: true, truncated: false, timed_out: false, supervised: true, killed: 0, duration_ms }
    }
}

impl ExecExit {
    fn of(exit: Exit, begun: Instant) -> Self {
        let exit_code = exit.ended().code();
        Self {
            exit_code,
            success: exit_code == 0,
            truncated: exit.truncated,
            timed_out: exit.timed_out,
            supervised: exit.supervised,
            killed: exit.killed,
            duration_ms: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// What is told of a command.
#[derive(Union)]
enum ExecTold {
    Output(ExecOutput),
    Exit(ExecExit),
    End(StreamEnd),
}

impl Told for ExecTold {
    fn name(&self) -> String {
        let name = match self {
            Self::Output(ExecOutput { output: Some(Output::Stderr), .. }) => "stderr",
            Self::Output(_) => "stdout",
            Self::Exit(_) => "exit",
            Self::End(_) => "end",
        };
        name.to_owned()
    }
}

impl From<StreamEnd> for ExecTold {
    fn from(end: StreamEnd) -> Self {
        Self::End(end)
    }
}

#[OpenApi(tag = "Tag::Inside")]
impl ExecStream {
    /// Run a command and watch it
    ///
    /// Runs it as `POST …/exec` does and tells what it writes as it comes, in server-sent events: `stdout` and `stderr`,
    /// and at last `exit`, or `end` where the stream ended before. Who leaves ends the command and all that it started.
    #[oai(path = "/containers/:name/exec/stream", method = "post", operation_id = "streamExecInContainer")]
    async fn run(
        &self,
        who: Caller<ExecScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        body: Strict<ExecRequest>,
    ) -> poem::Result<Events<ExecTold>> {
        let Strict(body, _) = body;
        let bounded = body.is_bounded();
        let parsed = body.parse(&self.0)?;
        let asker = who.principal().running(parsed.line.words());
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        let patience = self.0.engine.patience();
        // Nobody waits for an answer: an operation's own time does not matter.
        let timeout = self.0.policy.exec_time(&grant, parsed.timeout, Duration::MAX).await?;
        let begun = Instant::now();
        let open = self.0.streams.open(who.principal(), who.scope()).await?;
        let place = self.0.policy.exec_place(grant.tenant(), patience).await?;
        let max_output = if bounded { parsed.request.max_output } else { u64::MAX };
        let request = EngineRequest { timeout, max_output, ..parsed.request };
        let (live, in_use) = self.0.lifecycle.open_exec(&grant, &request).await?;
        // All of it lasts as long as the stream, the entry in the audit log too.
        Ok(events(open, told(live, begun, (place, in_use, grant))))
    }
}

/// What a stream is at.
struct Telling<H> {
    live: LiveExec,
    begun: Instant,
    stdout: Beginning,
    stderr: Beginning,
    over: Option<ExecTold>,
    is_over: bool,
    _held: H,
}

fn told<H: Send>(live: LiveExec, begun: Instant, held: H) -> impl Stream<Item = ExecTold> {
    let (stdout, stderr) = (Beginning::default(), Beginning::default());
    let telling = Telling { live, begun, stdout, stderr, over: None, is_over: false, _held: held };
    stream::unfold(telling, |mut telling| async { Some((telling.next().await?, telling)) })
}

impl<H> Telling<H> {
    async fn next(&mut self) -> Option<ExecTold> {
        while !self.is_over {
            match self.live.output.next().await {
                Ok(Heard::Said(output, bytes)) => {
                    let kept = match output {
                        Output::Stdout => &mut self.stdout,
                        Output::Stderr => &mut self.stderr,
                    };
                    let bytes = kept.whole(&bytes);
                    if !bytes.is_empty() {
                        return Some(ExecTold::Output(ExecOutput::of(output, &bytes)));
                    }
                }
                Ok(Heard::Ended(exit)) => {
                    self.is_over = true;
                    self.over = Some(ExecTold::Exit(ExecExit::of(exit, self.begun)));
                }
                Err(error) => {
                    self.is_over = true;
                    self.over = Some(ExecTold::End(EndReason::of(&error).into()));
                }
            }
        }
        for (output, rest) in [(Output::Stdout, &mut self.stdout), (Output::Stderr, &mut self.stderr)] {
            let rest = rest.rest();
            if !rest.is_empty() {
                return Some(ExecTold::Output(ExecOutput::of(output, &rest)));
            }
        }
        self.over.take()
    }
}
