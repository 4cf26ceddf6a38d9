//! Commands and ports inside a container that are talked to while they run. Dropping one ends all of it: the agent sees
//! that this side is gone.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
pub use podgate_agent::protocol::Size;
use podgate_agent::protocol::{self, Cause, Order, Report, Start, Stream};
use tokio::time::Instant;

use super::exec::{Ended, ExecRequest, Execution, Kept, Session, never_ran};
use super::frames::Output;
use super::hijack::Outputs;
use super::supervised::{Agent, GRACE, Orders, Reports, cut_off, left_alone, nonsense};
use super::wire::AbortOnDrop;
use super::{Deadline, Engine};
use crate::domain::{Directory, Error, ExecUser, Kind, Result, Words};
use crate::policy::grant::{Audited, ContainerGrant};

/// How long a command that Podman runs may be silent before it is believed to run, and what Podman says of one that does
/// not begins with.
const BEGINNING: Duration = Duration::from_secs(1);
const PODMANS_WORDS: &[u8] = b"Error: ";
const MOST_WORDS: usize = 4096;

/// What to run on a terminal, or on pipes.
#[derive(Debug, Clone)]
pub struct TerminalRequest {
    /// Programs with their arguments: the first that is there runs.
    pub commands: Vec<Words>,
    /// Instead of the container's user.
    pub user: Option<ExecUser>,
    /// Instead of the container's.
    pub workdir: Option<Directory>,
    /// On a terminal of this size; on pipes without.
    pub terminal: Option<Size>,
}

/// Something that runs, and both ways to it.
pub struct Live {
    /// The way in. Somebody has to read what comes out meanwhile.
    pub input: LiveInput,
    /// The way out.
    pub output: LiveOutput,
}

/// The way in. Dropping it ends everything.
pub struct LiveInput(Orders);

/// The way out. Whoever does not ask holds the command up.
pub struct LiveOutput {
    engine: Engine,
    grant: ContainerGrant,
    session: Session,
    source: Source,
    /// When a command that can be late is.
    late: Option<Instant>,
    /// What was heard and not told yet.
    heard: VecDeque<Told>,
}

enum Source {
    Agent(Reports),
    /// As Podman runs it; how many bytes more it may say.
    Plain(Outputs, u64),
}

/// A command that runs by itself.
pub struct LiveExec {
    /// The way out.
    pub output: LiveOutput,
    _feeding: AbortOnDrop<()>,
}

/// What comes next.
#[derive(Debug)]
pub enum Told {
    /// It said this.
    Said(Output, Bytes),
    /// It ended, and nothing comes any more.
    Ended(Exit),
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; none where a signal ended it or nobody knows.
    pub exit_code: Option<i64>,
    /// The signal that ended it.
    pub signal: Option<u8>,
    /// Its time was up.
    pub timed_out: bool,
    /// It said more than it may.
    pub truncated: bool,
    /// Processes that had to be killed, as far as is known.
    pub killed: u32,
    /// Whether it is sure that it and all it started are gone.
    pub supervised: bool,
}

impl Engine {
    /// Runs a command that is talked to. `Conflict` where the container does not run, or has no agent.
    pub async fn open_terminal(
        &self,
        grant: &Audited<ContainerGrant>,
        request: &TerminalRequest,
        deadline: Deadline,
    ) -> Result<Live> {
        let start = Start {
            commands: request.commands.iter().map(|words| words.as_slice().to_vec()).collect(),
            workdir: request.workdir.as_ref().map(|workdir| workdir.as_str().to_owned()),
            terminal: request.terminal,
            ..Start::default()
        };
        self.live(grant, request.user.as_ref(), &Order::Start(start), deadline).await
    }

    /// Connects to a TCP port of the container's own loopback. The agent makes the connection there, so that neither a
    /// published port nor a network is needed. `Conflict` where the container does not run, or has no agent, or nothing
    /// listens there.
    pub async fn open_port(&self, grant: &Audited<ContainerGrant>, port: u16, deadline: Deadline) -> Result<Live> {
        self.live(grant, None, &Order::Connect(port), deadline).await
    }

    /// Runs a command as [`Engine::exec`] does, and tells what it says as it comes.
    pub async fn open_exec(
        &self,
        grant: &Audited<ContainerGrant>,
        request: &ExecRequest,
        deadline: Deadline,
    ) -> Result<LiveExec> {
        if let Some(live) = self.supervised(grant, request, deadline).await? {
            return Ok(live);
        }
        match self.open_plain(grant, request, &request.command, deadline).await {
            Err(error) if error.kind == Kind::NoCommand => match &request.otherwise {
                Some(words) => self.open_plain(grant, request, words, deadline).await,
                None => Err(error),
            },
            other => other,
        }
    }

    /// As Podman runs it, which tells in its output, or what looks like it, that a command cannot be run.
    async fn open_plain(
        &self,
        grant: &Audited<ContainerGrant>,
        request: &ExecRequest,
        words: &Words,
        deadline: Deadline,
    ) -> Result<LiveExec> {
        let stdin = request.stdin.clone().unwrap_or_default();
        let late = Instant::now().checked_add(request.timeout);
        let (session, attached) = self.start_process(grant, request.process(words), deadline).await?;
        let mut input = attached.input;
        let feeding = tokio::spawn(async move {
            if input.write(&stdin).await.is_ok() {
                let _ = input.end().await;
            }
            std::future::pending().await
        });
        let mut output = self.output(grant, session, Source::Plain(attached.outputs, request.max_output), late);
        output.hear_beginning().await?;
        Ok(LiveExec { output, _feeding: AbortOnDrop(feeding) })
    }

    /// Starts a command under the agent's eyes; none where the container does not have the agent.
    pub(super) async fn supervised(
        &self,
        grant: &Audited<ContainerGrant>,
        request: &ExecRequest,
        deadline: Deadline,
    ) -> Result<Option<LiveExec>> {
        if !self.has_agent(grant) {
            return Ok(None);
        }
        let agent = self.start_agent(grant, request.user.as_ref(), &request.order(), deadline).await?;
        Ok(agent.map(|agent| {
            let (session, reports, feeding) = agent.run(request.stdin.clone().unwrap_or_default());
            // The agent keeps the time; a container that is paused, and its agent with it, does not.
            let late = Instant::now().checked_add(request.timeout.saturating_add(GRACE));
            LiveExec { output: self.output(grant, session, Source::Agent(reports), late), _feeding: feeding }
        }))
    }

    async fn live(
        &self,
        grant: &Audited<ContainerGrant>,
        user: Option<&ExecUser>,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Live> {
        if !self.has_agent(grant) {
            return Err(without_agent());
        }
        let agent = self.start_agent(grant, user, order, deadline).await?.ok_or_else(without_agent)?;
        let Agent { session, orders, reports } = agent;
        let output = self.output(grant, session, Source::Agent(reports), None);
        Ok(Live { input: LiveInput(orders), output })
    }

    fn output(&self, grant: &ContainerGrant, session: Session, source: Source, late: Option<Instant>) -> LiveOutput {
        LiveOutput { engine: self.clone(), grant: grant.clone(), session, source, late, heard: VecDeque::new() }
    }
}

/// Nothing but the agent would do.
pub(super) fn without_agent() -> Error {
    Error::new(Kind::Conflict, "this container was made without the gateway's agent; create it anew")
}

impl LiveExec {
    /// Waits for its end, and keeps what it says.
    pub(super) async fn finish(
        mut self,
        engine: &Engine,
        grant: &Audited<ContainerGrant>,
        request: &ExecRequest,
    ) -> Result<Execution> {
        let _touched = engine.touching(grant);
        let mut kept = Kept::new(request.max_output);
        let listen = async {
            loop {
                match self.output.next().await? {
                    Told::Said(output, said) if kept.take(output, &said) => {}
                    // The agent does not let it come to this.
                    Told::Said(..) => return Ok(Exit { truncated: true, ..Exit::UNKNOWN }),
                    Told::Ended(exit) => return Ok(exit),
                }
            }
        };
        // However much whoever speaks for the agent goes on to say.
        let heard = Deadline::after(request.timeout + GRACE).or_none(listen).await;
        let exit = heard.unwrap_or(Ok::<_, Error>(Exit::LATE))?;
        Ok(kept.into_execution(exit.ended(), exit.supervised, exit.killed))
    }
}

impl LiveInput {
    /// Gives it these bytes, as fast as they are taken. Fails where it is gone, which the output tells.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.feed(bytes).await
    }

    /// Waits until some of so many bytes would be taken; how many of them have to be given then.
    pub async fn room(&self, most: usize) -> usize {
        self.0.room(most).await
    }

    /// Gives it bytes that there is room for.
    pub async fn give(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.send(&Order::Input(bytes.to_vec())).await
    }

    /// There is no more.
    pub async fn end(&mut self) -> std::io::Result<()> {
        self.0.send(&Order::InputEnd).await
    }

    /// Sends a signal, by its number on Linux, to what is in the foreground.
    pub async fn signal(&mut self, number: u8) -> std::io::Result<()> {
        self.0.send(&Order::Signal(number)).await
    }

    /// The terminal's window is this large now.
    pub async fn resize(&mut self, size: Size) -> std::io::Result<()> {
        self.0.send(&Order::Resize(size)).await
    }
}

impl LiveOutput {
    /// What comes next. Nothing follows an end or an error.
    pub async fn next(&mut self) -> Result<Told> {
        if let Some(told) = self.heard.pop_front() {
            return Ok(told);
        }
        let told = match self.late {
            // What was said before the deadline may be asked for after it, as slowly as it may be.
            Some(late) => {
                let until = late.max(Instant::now() + Duration::from_millis(100));
                tokio::time::timeout_at(until, self.hear()).await.unwrap_or(Ok(Told::Ended(Exit::LATE)))
            }
            None => self.hear().await,
        };
        if !matches!(told, Ok(Told::Said(..))) {
            // A command may end its container.
            self.engine.look_again(self.grant.engine_id());
        }
        match told {
            Err(error) => Err(self.engine.broken(&self.grant, error).await),
            told => told,
        }
    }

    /// Waits a moment for what Podman says of a command that cannot be run: that is the error.
    async fn hear_beginning(&mut self) -> Result<()> {
        let until = Instant::now() + BEGINNING;
        let mut words = Vec::new();
        while let Ok(told) = tokio::time::timeout_at(until, self.hear()).await {
            let told = told?;
            let goes_on = match &told {
                Told::Said(Output::Stderr, bytes) if words.len() < MOST_WORDS => {
                    words.extend_from_slice(bytes);
                    words.starts_with(PODMANS_WORDS) || PODMANS_WORDS.starts_with(&words)
                }
                Told::Said(..) => false,
                Told::Ended(exit) => match exit.exit_code.and_then(|code| never_ran(code, &words)) {
                    Some(refusal) => return Err(refusal),
                    None => false,
                },
            };
            self.heard.push_back(told);
            if !goes_on {
                break;
            }
        }
        Ok(())
    }

    async fn hear(&mut self) -> Result<Told> {
        match &mut self.source {
            Source::Agent(reports) => match reports.next().await? {
                Some(Report::Output(Stream::Stdout, bytes)) => Ok(Told::Said(Output::Stdout, bytes.into())),
                Some(Report::Output(Stream::Stderr, bytes)) => Ok(Told::Said(Output::Stderr, bytes.into())),
                Some(Report::Ended(ended)) => Ok(Told::Ended(Exit::of(&ended))),
                Some(_) => Err(nonsense()),
                None => {
                    let (code, supervised) = self.engine.lost(&self.grant, &self.session).await?;
                    // Its exit code is not the command's.
                    if !supervised && left_alone(code) {
                        return Err(cut_off());
                    }
                    Ok(Told::Ended(Exit { exit_code: Some(code), supervised, ..Exit::UNKNOWN }))
                }
            },
            Source::Plain(outputs, room) => match outputs.next().await? {
                Some((output, bytes)) if bytes.len() as u64 <= *room => {
                    *room -= bytes.len() as u64;
                    Ok(Told::Said(output, bytes))
                }
                Some(_) => Ok(Told::Ended(Exit { truncated: true, ..Exit::UNKNOWN })),
                None => {
                    let code = self.engine.exit_code(&self.session).await?;
                    Ok(Told::Ended(Exit { exit_code: Some(code), ..Exit::UNKNOWN }))
                }
            },
        }
    }
}

impl Exit {
    const UNKNOWN: Self =
        Self { exit_code: None, signal: None, timed_out: false, truncated: false, killed: 0, supervised: false };
    const LATE: Self = Self { timed_out: true, ..Self::UNKNOWN };

    /// As a command's end is told. One that a signal ended has 128 and the signal's number.
    pub fn ended(&self) -> Ended {
        match (self.timed_out, self.truncated) {
            (true, _) => Ended::TimedOut,
            (false, true) => Ended::TooMuchOutput,
            (false, false) => {
                let by_signal = self.signal.map(|signal| 128 + i64::from(signal));
                Ended::Exited(self.exit_code.or(by_signal).unwrap_or(-1))
            }
        }
    }

    fn of(ended: &protocol::Ended) -> Self {
        Self {
            exit_code: ended.exit_code.map(i64::from),
            signal: ended.signal,
            timed_out: ended.cause == Cause::Deadline,
            truncated: ended.cause == Cause::Overflow,
            killed: ended.killed,
            supervised: ended.left == 0,
        }
    }
}
