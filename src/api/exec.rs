//! Commands inside a running container.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use poem_openapi::param::Path;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, Exec as ExecScope};
use super::exec_answer::ExecAnswer;
use super::json::Strict;
use super::model::Command;
use super::{Context, Tag};
use crate::domain::{CommandLine, Details, Directory, Environment, ExecUser, Result};
use crate::engine::{Ended, ExecRequest as EngineRequest, Execution};
use crate::policy::Change;

pub struct Exec(pub Context);

/// What to run.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct ExecRequest {
    /// An array runs as it is. A string runs under `/bin/sh -c`; where the container has no shell and the string no
    /// shell metacharacters, its words run directly.
    command: Command,
    /// User to run as, name or number, optionally with `:group`. Default: the container's.
    user: Option<String>,
    /// Variables over those that the container has.
    #[oai(default)]
    environment: BTreeMap<String, String>,
    /// Directory to run in. Default: the container's.
    workdir: Option<String>,
    /// What the command reads on its standard input; nothing without.
    stdin: Option<String>,
    /// Seconds that it may take, at most the profile's and the tenant's. Default: theirs, or the gateway's request
    /// timeout if that is less. At that time the command and all that it started are killed, and the answer has what it said so far.
    timeout: Option<f64>,
    /// Bytes that it may say on both streams together; when it says more, it is killed. Default and most: the
    /// installation's; of a command that is watched, no bound by default.
    max_output: Option<i64>,
}

impl Example for ExecRequest {
    fn example() -> Self {
        Self {
            command: "echo hello".into(),
            user: None,
            environment: BTreeMap::new(),
            workdir: None,
            stdin: None,
            timeout: Some(10.0),
            max_output: None,
        }
    }
}

/// How a command went.
#[derive(Object)]
struct ExecutionResult {
    /// The command's exit code, 128 and the signal's number where a signal ended it; -1 where the command did not end in
    /// time or said too much.
    exit_code: i64,
    /// Standard output and error in the order in which they were read, valid UTF-8: of what was written to both within
    /// the same moment, either may come first.
    output: String,
    /// Standard output alone.
    stdout: String,
    /// Standard error alone.
    stderr: String,
    /// Whether the exit code is 0.
    success: bool,
    /// Whether there was more output than this.
    truncated: bool,
    /// Whether the deadline came before the end; the output is what was said so far.
    timed_out: bool,
    /// Whether the command and all that it started are sure to be gone. What it left running was ended with it.
    supervised: bool,
    /// How many processes had to be killed, as far as is known.
    killed: u32,
    /// Milliseconds from request to end.
    duration_ms: u64,
}

/// The command was run, whatever its exit code.
#[derive(Object)]
#[oai(example)]
pub(super) struct ExecResponse {
    /// Always true.
    success: bool,
    /// What was asked for.
    execution: ExecutionResult,
}

impl Example for ExecResponse {
    fn example() -> Self {
        let hello = "hello\n".to_owned();
        let execution = ExecutionResult {
            exit_code: 0,
            output: hello.clone(),
            stdout: hello,
            stderr: String::new(),
            success: true,
            truncated: false,
            timed_out: false,
            supervised: true,
            killed: 0,
            duration_ms: 61,
        };
        Self { success: true, execution }
    }
}

#[OpenApi(tag = "Tag::Inside")]
impl Exec {
    /// Run a command
    ///
    /// Runs it to its end, or to its timeout, and answers with what it wrote. What it leaves running is killed when it
    /// ends, as is everything when the caller goes away: a service belongs into the container's own command.
    #[oai(path = "/containers/:name/exec", method = "post", operation_id = "execInContainer")]
    async fn exec(
        &self,
        who: Caller<ExecScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        body: Strict<ExecRequest>,
    ) -> poem::Result<ExecAnswer> {
        let Strict(body, _) = body;
        let Parsed { line, request, timeout } = body.parse(&self.0)?;
        let asker = who.principal().running(line.words());
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        let timeout = self.0.policy.exec_time(&grant, timeout, self.0.engine.patience()).await?;
        let begun = Instant::now();
        // Kept with what the command said.
        who.holds(self.0.policy.exec_place(grant.tenant(), self.0.engine.patience()).await?);
        let execution = self.0.lifecycle.exec(&grant, &EngineRequest { timeout, ..request }).await?;
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(ExecResponse::told(execution, duration_ms))
    }
}

/// A request whose every field is right, but for what its container's profile has to say.
pub(super) struct Parsed {
    pub(super) line: CommandLine,
    pub(super) request: EngineRequest,
    pub(super) timeout: Option<Duration>,
}

impl ExecRequest {
    /// Whether it bounds what may be said.
    pub(super) fn is_bounded(&self) -> bool {
        self.max_output.is_some()
    }

    pub(super) fn parse(self, context: &Context) -> Result<Parsed> {
        let mut wrong = Details::default();
        let command = wrong.take("command", self.command.parse());
        let user = wrong.take_optional("user", self.user, |user| ExecUser::parse(&user));
        let environment = Environment::parse(self.environment, &mut wrong);
        let workdir = wrong.take_optional("workdir", self.workdir, |path| Directory::parse(&path));
        let timeout = wrong.take_optional("timeout", self.timeout, seconds);
        let max_output = context.policy.exec_output(self.max_output, &mut wrong);
        let Some(command) = command else { return Err(wrong.into_error()) };
        wrong.finish()?;
        let request = EngineRequest {
            otherwise: command.without_shell(),
            user,
            environment,
            workdir,
            stdin: self.stdin.map(Bytes::from),
            ..EngineRequest::new(command.for_exec(), Duration::ZERO, max_output)
        };
        Ok(Parsed { line: command, request, timeout })
    }
}

/// More than nothing, and a time that a clock can count.
fn seconds(seconds: f64) -> Result<Duration, String> {
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| *time >= Duration::from_millis(1));
    time.ok_or_else(|| "must be a number of seconds, 0.001 at least".into())
}

impl ExecResponse {
    /// The answer to a request that took so long.
    pub(super) fn told(execution: Execution, duration_ms: u64) -> ExecAnswer {
        let Execution { ended, said, supervised, killed } = execution;
        let execution = ExecutionResult {
            exit_code: ended.code(),
            success: ended == Ended::Exited(0),
            truncated: ended == Ended::TooMuchOutput,
            timed_out: ended == Ended::TimedOut,
            supervised,
            killed,
            duration_ms,
            // What was said goes in when it is sent.
            output: String::new(),
            stdout: String::new(),
            stderr: String::new(),
        };
        ExecAnswer::new(&Self { success: true, execution }, said)
    }
}
