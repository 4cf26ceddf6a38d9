//! Commands inside a running container.
//!
//! Podman cannot end an exec. Where the deadline comes first, the connection is cut, which a command that reads its
//! standard input sees as its end; a command that does not read it goes on until the container's own limits or stop.

use std::time::Duration;

use futures_util::{AsyncWriteExt, StreamExt};
use podman_api::conn::TtyChunk;
use podman_api::opts::{ExecCreateOpts, UserOpt};

use super::{Deadline, Engine, failure};
use crate::domain::{Error, ExecUser, Kind, Result, Words};
use crate::policy::grant::{Audited, ContainerGrant};

/// What to run.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Words,
    /// Instead of the container's user.
    pub user: Option<ExecUser>,
    /// Written to its standard input, which then ends; without, it ends at once.
    pub stdin: Option<Vec<u8>>,
}

/// How a command went.
#[derive(Debug, Clone)]
pub struct Execution {
    /// How it ended.
    pub ended: Ended,
    /// Both streams, in the order they came.
    pub output: Vec<u8>,
    /// Standard output alone.
    pub stdout: Vec<u8>,
    /// Standard error alone.
    pub stderr: Vec<u8>,
    /// There was more output than is kept.
    pub truncated: bool,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code.
    Exited(i64),
    /// Not before the deadline.
    TimedOut,
    /// Not before its output passed the bound.
    TooMuchOutput,
}

/// How long Podman may take to note the exit of a command whose output has ended.
const EXIT_CODE_PATIENCE: Duration = Duration::from_secs(5);

/// Podman's exit codes for what never ran: 125 its own failure, 126 not executable, 127 not found.
const NEVER_RAN: std::ops::RangeInclusive<i64> = 125..=127;

impl Engine {
    /// Runs a command to its end, or to the deadline, with what it said so far.
    ///
    /// `Conflict` where the container does not run; `Refused` where the command, its user or its directory is not
    /// there.
    pub async fn exec(
        &self,
        grant: &Audited<ContainerGrant>,
        request: &ExecRequest,
        deadline: Deadline,
    ) -> Result<Execution> {
        let mut opts = ExecCreateOpts::builder()
            .command(request.command.as_slice())
            .attach_stdin(true)
            .attach_stdout(true)
            .attach_stderr(true)
            .privileged(false)
            .tty(false);
        if let Some(user) = &request.user {
            opts = opts.user(UserOpt::User(user.as_str().into()));
        }
        let opts = opts.build();
        let container = self.podman.containers().get(grant.engine_id().as_str());
        let create = async { container.create_exec(&opts).await.map_err(failure::of_client) };
        self.answering(grant, deadline).await?;
        // A command may end its container.
        let _touched = self.touching(grant);
        let heavy = self.heavy.enter(grant.tenant(), deadline).await?;
        let exec = deadline.bound(self.timed("POST containers/{id}/exec", create)).await;
        self.learn(grant.engine_id(), &exec);
        let exec = exec?;
        let start_opts = podman_api::opts::ExecStartOpts::builder().build();
        let start = async { exec.start(&start_opts).await.map_err(failure::of_client) };
        let stream = deadline.bound(self.timed("POST exec/{id}/start", start)).await?;
        drop(heavy);
        let stream = stream.ok_or_else(|| failure::unreadable("an exec without a stream"))?;

        let (mut said, mut input) = stream.split();
        let mut kept = Kept::new(self.output_bytes);
        // A command that does not read its input has not failed, so nobody waits for the write alone.
        let write = async {
            if input.write_all(request.stdin.as_deref().unwrap_or_default()).await.is_ok() {
                let _ = input.close().await;
            }
            std::future::pending::<Never>().await
        };
        let read = async {
            while let Some(chunk) = said.next().await {
                if !kept.take(chunk.map_err(failure::unreachable)?) {
                    return Ok::<_, Error>(Some(Ended::TooMuchOutput));
                }
            }
            Ok(None)
        };
        let talk = async {
            tokio::select! {
                finished = read => finished,
                never = write => match never {},
            }
        };
        let cut_short: Option<Ended> = match deadline.or_none(talk).await {
            Some(finished) => finished?,
            None => Some(Ended::TimedOut),
        };
        let ended = match cut_short {
            Some(cut_short) => cut_short,
            None => Ended::Exited(exit_code(&exec).await?),
        };
        if let Ended::Exited(code) = ended
            && let Some(refusal) = never_ran(code, &kept.stderr)
        {
            return Err(refusal);
        }
        let Kept { output, stdout, stderr, .. } = kept;
        Ok(Execution { ended, output, stdout, stderr, truncated: ended == Ended::TooMuchOutput })
    }
}

enum Never {}

/// Output within the bound, in order and by stream.
struct Kept {
    room: usize,
    output: Vec<u8>,
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Kept {
    fn new(room: usize) -> Self {
        Self { room, output: Vec::new(), stdout: Vec::new(), stderr: Vec::new() }
    }

    /// Keeps what fits; false once something did not.
    fn take(&mut self, chunk: TtyChunk) -> bool {
        let bytes = &chunk[..chunk.len().min(self.room)];
        let fits = bytes.len() == chunk.len();
        self.room -= bytes.len();
        self.output.extend_from_slice(bytes);
        match chunk {
            TtyChunk::StdErr(_) => self.stderr.extend_from_slice(bytes),
            TtyChunk::StdOut(_) | TtyChunk::StdIn(_) => self.stdout.extend_from_slice(bytes),
        }
        fits
    }
}

/// The exit code, asked for at once: Podman forgets an exec `exit_command_delay` after its end.
async fn exit_code(exec: &podman_api::api::Exec) -> Result<i64> {
    let deadline = Deadline::after(EXIT_CODE_PATIENCE);
    let ask = async {
        loop {
            let inspected = exec.inspect().await.map_err(failure::of_client)?;
            if inspected["Running"] != true {
                return inspected["ExitCode"]
                    .as_i64()
                    .ok_or_else(|| failure::unreadable("an exec without an exit code"));
            }
            // The stream ends a moment before Podman notes the exit.
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    deadline.bound(ask).await
}

/// Why a command never ran, told from Podman's words in its error stream. A command that imitates them misleads
/// only whoever ran it.
fn never_ran(code: i64, stderr: &[u8]) -> Option<Error> {
    if !NEVER_RAN.contains(&code) {
        return None;
    }
    let text = String::from_utf8_lossy(stderr);
    let from_runtime =
        |line: &&str| line.starts_with("Error: ") && (line.contains("OCI ") || line.contains("read unixpacket"));
    let words = text.lines().find(from_runtime)?;
    let unknown = (Kind::Refused, "the command could not be started in the container");
    let (kind, message) = failure::meaning(words).unwrap_or(unknown);
    Some(Error::new(kind, message).because(words))
}
