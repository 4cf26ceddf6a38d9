//! Commands inside a running container: with the agent where the container has it, else as Podman runs them.

use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::frames::Output;
use super::hijack::Hijacked;
use super::said::Said;
use super::{Deadline, Engine, failure};
use crate::domain::{Directory, Environment, Error, ExecUser, Kind, Result, Words};
use crate::policy::grant::{Audited, ContainerGrant};

/// What to run.
#[derive(Debug, Clone)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Words,
    /// What runs where that program is not there.
    pub otherwise: Option<Words>,
    /// Instead of the container's user.
    pub user: Option<ExecUser>,
    /// Over what the container has.
    pub environment: Environment,
    /// Instead of the container's.
    pub workdir: Option<Directory>,
    /// Written to its standard input, which then ends; without, it ends at once.
    pub stdin: Option<Bytes>,
    /// How long it may take once it runs.
    pub timeout: Duration,
    /// Bytes that it may say on both streams together.
    pub max_output: u64,
}

impl ExecRequest {
    /// The command as the container has it, within these bounds.
    pub fn new(command: Words, timeout: Duration, max_output: u64) -> Self {
        Self {
            command,
            otherwise: None,
            user: None,
            environment: Environment::default(),
            workdir: None,
            stdin: None,
            timeout,
            max_output,
        }
    }

    /// These words, as Podman starts them without the agent.
    pub(super) fn process<'a>(&'a self, words: &'a Words) -> Process<'a> {
        Process {
            words: words.as_slice(),
            user: self.user.as_ref(),
            environment: self.environment.iter().map(|(name, value)| format!("{name}={value}")).collect(),
            workdir: self.workdir.as_ref().map(Directory::as_str),
        }
    }
}

/// How a command went.
#[derive(Debug, Clone)]
pub struct Execution {
    /// How it ended.
    pub ended: Ended,
    /// What it said.
    pub said: Said,
    /// Whether it is sure that the command and all that it started are gone.
    pub supervised: bool,
    /// Processes that had to be killed, as far as is known.
    pub killed: u32,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this code; one that a signal ended, with 128 and the signal's number.
    Exited(i64),
    /// Not before the deadline.
    TimedOut,
    /// Not before its output passed the bound.
    TooMuchOutput,
}

impl Ended {
    /// In one number: the exit code, or -1 where there is none.
    pub fn code(self) -> i64 {
        match self {
            Self::Exited(code) => code,
            Self::TimedOut | Self::TooMuchOutput => -1,
        }
    }
}

/// How long Podman may take to note the exit of a command whose output has ended.
const EXIT_CODE_PATIENCE: Duration = Duration::from_secs(5);

/// Podman's exit codes for what never ran: 125 its own failure, 126 not executable, 127 not found.
const NEVER_RAN: std::ops::RangeInclusive<i64> = 125..=127;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Created {
    id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    running: bool,
    exit_code: i64,
}

/// A process that Podman started in a container.
pub(super) struct Session {
    id: String,
}

/// What Podman is asked to start.
pub(super) struct Process<'a> {
    pub(super) words: &'a [String],
    pub(super) user: Option<&'a ExecUser>,
    pub(super) environment: Vec<String>,
    pub(super) workdir: Option<&'a str>,
}

impl Engine {
    /// Runs a command to its end, or to its deadline, with what it said so far. `deadline` is for its start.
    ///
    /// `Conflict` where the container does not run; `Refused` and `NoCommand` where the command, its user or its
    /// directory is not there.
    pub async fn exec(
        &self,
        grant: &Audited<ContainerGrant>,
        request: &ExecRequest,
        deadline: Deadline,
    ) -> Result<Execution> {
        if let Some(live) = self.supervised(grant, request, deadline).await? {
            return live.finish(self, grant, request).await;
        }
        match self.exec_plain(grant, request, &request.command, deadline).await {
            Err(error) if error.kind == Kind::NoCommand => match &request.otherwise {
                Some(words) => self.exec_plain(grant, request, words, deadline).await,
                None => Err(error),
            },
            other => other,
        }
    }

    /// Has Podman start a process, and takes over its streams. A command of a tenant's was announced before; the agent
    /// that looks at files was not.
    pub(super) async fn start_process(
        &self,
        grant: &ContainerGrant,
        process: Process<'_>,
        deadline: Deadline,
    ) -> Result<(Session, Hijacked)> {
        let body = json!({
            "Cmd": process.words,
            "User": process.user.map(ExecUser::as_str).unwrap_or_default(),
            "Env": process.environment,
            "WorkingDir": process.workdir.unwrap_or_default(),
            "AttachStdin": true,
            "AttachStdout": true,
            "AttachStderr": true,
            "Tty": false,
            "Privileged": false,
        });
        let path = format!("/v4.0.0/libpod/containers/{}/exec", grant.engine_id());
        let create = async { self.wire.post_json(&path, &body).await?.checked()?.json::<Created>() };
        self.answering(grant, deadline).await?;
        let _heavy = self.heavy.enter(grant.tenant(), deadline).await?;
        // In one that does not run nothing is started, and a look costs what a mount does.
        if self.known_status(grant, deadline).await?.is_running() || self.status(grant, deadline).await?.is_running() {
            self.check_account_files(grant, deadline).await?;
        }
        let created = deadline.bound(create).await;
        self.learn(grant.engine_id(), &created);
        let session = Session::of(self.in_its_state(grant, created).await?)?;
        let path = format!("/v4.0.0/libpod/exec/{}/start", session.id);
        let body = json!({"Detach": false, "Tty": false}).to_string();
        match deadline.bound(self.wire.hijack(&path, body.into())).await {
            Ok(connection) => Ok((session, Hijacked::ending_with_us(connection))),
            Err(error) => Err(self.broken(grant, error).await),
        }
    }

    /// The exit code of a process whose streams have ended, asked for at once: Podman forgets it
    /// `exit_command_delay` after its end.
    pub(super) async fn exit_code(&self, session: &Session) -> Result<i64> {
        let path = format!("/v4.0.0/libpod/exec/{}/json", session.id);
        let ask = async {
            loop {
                let inspected: Inspected = self.wire.get(&path).await?.checked()?.json()?;
                if !inspected.running {
                    return Ok(inspected.exit_code);
                }
                // The stream ends a moment before Podman notes the exit.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        Deadline::after(EXIT_CODE_PATIENCE).bound(ask).await
    }
}

impl Session {
    /// Only an id enters a URL.
    fn of(created: Created) -> Result<Self> {
        let fits = created.id.len() == 64 && created.id.bytes().all(|b| b.is_ascii_hexdigit());
        if fits { Ok(Self { id: created.id }) } else { Err(failure::unreadable("an exec without an id")) }
    }
}

/// Output within the bound, in order and by stream.
pub(super) struct Kept {
    room: usize,
    pub(super) said: Said,
}

impl Kept {
    pub(super) fn new(room: u64) -> Self {
        let room = usize::try_from(room).unwrap_or(usize::MAX);
        Self { room, said: Said::default() }
    }

    /// Keeps what fits; false once something did not.
    pub(super) fn take(&mut self, output: Output, said: &[u8]) -> bool {
        let bytes = &said[..said.len().min(self.room)];
        self.room -= bytes.len();
        self.said.push(output, bytes);
        bytes.len() == said.len()
    }

    pub(super) fn into_execution(self, ended: Ended, supervised: bool, killed: u32) -> Execution {
        Execution { ended, said: self.said, supervised, killed }
    }
}

/// Why a process never ran, told from Podman's words in its error stream. A command that imitates them misleads
/// only whoever ran it.
pub(super) fn never_ran(code: i64, stderr: &[u8]) -> Option<Error> {
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
