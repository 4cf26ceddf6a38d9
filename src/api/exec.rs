//! Commands inside a running container.

use std::time::Instant;

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, Exec as ExecScope};
use super::json::Strict;
use super::model::{Command, answer};
use super::{Context, Tag};
use crate::domain::{Details, ExecUser};
use crate::engine::{Ended, Execution};
use crate::policy::Change;

pub struct Exec(pub Context);

/// What to run.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct ExecRequest {
    /// An array runs as it is. A string runs under `/bin/sh -c`; where the container has no shell and the string no
    /// shell metacharacters, its words run directly.
    command: Command,
    /// User to run as, name or number, optionally with `:group`. Default: the container's.
    user: Option<String>,
}

impl poem_openapi::types::Example for ExecRequest {
    fn example() -> Self {
        Self { command: "echo hello".into(), user: None }
    }
}

/// How a command went.
#[derive(Object)]
struct ExecutionResult {
    /// The command's exit code; -1 where it is not known, because the command did not end in time or said too much.
    exit_code: i64,
    /// Standard output and error in the order they came, valid UTF-8.
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
    /// Whether the command and all it started are sure to be gone after the deadline.
    supervised: bool,
    /// Milliseconds from request to end.
    duration_ms: u64,
}

answer! {
    /// The command was run, whatever its exit code.
    ExecResponse { execution: ExecutionResult }
    example ExecutionResult {
        exit_code: 0,
        output: "hello\n".into(),
        stdout: "hello\n".into(),
        stderr: String::new(),
        success: true,
        truncated: false,
        timed_out: false,
        supervised: false,
        duration_ms: 61,
    }
}

#[OpenApi(tag = "Tag::Inside")]
impl Exec {
    /// Run a command
    ///
    /// Runs it to its end, at most for the gateway's request timeout, and answers with what it wrote.
    #[oai(path = "/containers/:name/exec", method = "post", operation_id = "execInContainer")]
    async fn exec(
        &self,
        who: Caller<ExecScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        body: Strict<ExecRequest>,
    ) -> poem::Result<Json<ExecResponse>> {
        let Strict(body, _) = body;
        let mut wrong = Details::default();
        let command = wrong.take("command", body.command.parse());
        let user = wrong.take_optional("user", body.user, |user| ExecUser::parse(&user));
        let Some(command) = command else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        let asker = who.principal().running(command.words());
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        let begun = Instant::now();
        // Kept with what the command said.
        who.holds(self.0.policy.exec_place(grant.tenant(), self.0.engine.patience()).await?);
        let execution = self.0.lifecycle.exec(&grant, &command, user).await?;
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(ExecResponse::of(ExecutionResult::new(execution, duration_ms)))
    }
}

impl ExecutionResult {
    fn new(execution: Execution, duration_ms: u64) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self {
            exit_code: match execution.ended {
                Ended::Exited(code) => code,
                Ended::TimedOut | Ended::TooMuchOutput => -1,
            },
            success: execution.ended == Ended::Exited(0),
            truncated: execution.truncated,
            timed_out: execution.ended == Ended::TimedOut,
            output: text(execution.output),
            stdout: text(execution.stdout),
            stderr: text(execution.stderr),
            supervised: false,
            duration_ms,
        }
    }
}
