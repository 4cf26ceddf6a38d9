//! The agent inside the container, at work (`podgate_agent::protocol`): it ends a command and all that it started at its
//! deadline, when it says too much, and when this side is gone, which is what dropping does.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use podgate_agent::protocol::{
    self, ALIVE_AFTER, ALIVE_EVERY, CHUNK, Decoder, Failure, Frame, Order, Report, Stage, Start, WINDOW,
};
use tokio::sync::Notify;
use tokio::time::timeout;

use super::exec::{ExecRequest, Process, Session, never_ran};
use super::frames::Output;
use super::hijack::{Hijacked, Input, Outputs};
use super::wire::AbortOnDrop;
use super::{Deadline, Engine};
use crate::domain::{Error, ExecUser, Kind, Result};
use crate::policy::grant::{Audited, ContainerGrant};

/// How much longer than the command the agent may take: killing a tree on a busy machine.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// How long Podman may take to note that a container stopped.
const NOTED: Duration = Duration::from_secs(1);

/// The most that is kept of what is said beside the agent: Podman's own words.
const MAX_WORDS: usize = 4096;

/// The agent in one container, at work.
pub(super) struct Agent {
    pub(super) session: Session,
    pub(super) orders: Orders,
    pub(super) reports: Reports,
}

/// What it is told.
pub(super) struct Orders {
    /// Written to by whoever has a whole frame.
    input: Arc<tokio::sync::Mutex<Input>>,
    frame: Vec<u8>,
    credit: Arc<Credit>,
    _answering: AbortOnDrop<()>,
}

/// What it tells.
pub(super) struct Reports {
    outputs: Outputs,
    decoder: Decoder<Report>,
    words: Vec<u8>,
    credit: Arc<Credit>,
    ear: Arc<Ear>,
}

/// Whether the agent has to be told that somebody is there.
struct Ear {
    /// Bytes that were said since.
    heard: AtomicUsize,
    /// Somebody waits for what is said next.
    listens: AtomicBool,
    change: Notify,
    /// So much was said that it has to be told now.
    much: Notify,
}

/// How many bytes of input it would take.
struct Credit {
    bytes: Mutex<usize>,
    more: Notify,
}

impl Engine {
    /// Starts the agent as this user, with this order, which it carries out; none if it is not there.
    pub(super) async fn start_agent(
        &self,
        grant: &Audited<ContainerGrant>,
        user: Option<&ExecUser>,
        order: &Order,
        deadline: Deadline,
    ) -> Result<Option<Agent>> {
        // Where the order names a directory, the container's own does not matter.
        let elsewhere = matches!(order, Order::Start(Start { workdir: Some(_), .. }) | Order::Connect(_));
        let process = Process {
            words: &[protocol::PATH.to_owned()],
            user,
            environment: Vec::new(),
            workdir: elsewhere.then_some("/"),
        };
        // A command may end its container.
        let touched = self.touching(grant);
        let (session, attached) = self.start_process(grant, process, deadline).await?;
        let mut agent = Agent::new(session, attached);
        let started = async {
            // One that cannot be written to says why.
            let _ = agent.orders.send(order).await;
            agent.reports.next().await
        };
        let started = deadline.bound(started).await;
        drop(touched);
        let started = match started {
            Ok(started) => started,
            Err(error) => return Err(self.broken(grant, error).await),
        };
        match started {
            Some(Report::Started) => Ok(Some(agent)),
            Some(Report::Failed(failure)) => Err(not_started(failure)),
            Some(_) => Err(nonsense()),
            None => {
                let (code, stopped) = self.lost(grant, &agent.session).await?;
                let words = String::from_utf8_lossy(&agent.reports.words).into_owned();
                match never_ran(code, &agent.reports.words) {
                    Some(error) if error.kind == Kind::NoCommand => Ok(None),
                    Some(error) => Err(error),
                    None if stopped => Err(Error::new(Kind::Conflict, "the container stopped meanwhile")),
                    None if left_alone(code) => Err(cut_off()),
                    None => Err(nonsense().because(format!("it ended with {code}: {words}"))),
                }
            }
        }
    }
}

impl ExecRequest {
    /// As the agent is told it.
    pub(super) fn order(&self) -> Order {
        let commands = [Some(&self.command), self.otherwise.as_ref()];
        Order::Start(Start {
            commands: commands.into_iter().flatten().map(|words| words.as_slice().to_vec()).collect(),
            environment: self.environment.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            workdir: self.workdir.as_ref().map(|workdir| workdir.as_str().to_owned()),
            timeout_ms: u64::try_from(self.timeout.as_millis()).ok(),
            max_output: Some(self.max_output),
            terminal: None,
        })
    }
}

impl Agent {
    fn new(session: Session, Hijacked { input, outputs }: Hijacked) -> Self {
        let credit = Arc::new(Credit { bytes: Mutex::new(WINDOW), more: Notify::new() });
        let ear = Arc::new(Ear { heard: 0.into(), listens: false.into(), change: Notify::new(), much: Notify::new() });
        let input = Arc::new(tokio::sync::Mutex::new(input));
        let answering = AbortOnDrop(tokio::spawn(answer(Arc::clone(&ear), Arc::clone(&input))));
        let orders = Orders { input, frame: Vec::new(), credit: Arc::clone(&credit), _answering: answering };
        let reports = Reports { outputs, decoder: Decoder::default(), words: Vec::new(), credit, ear };
        Self { session, orders, reports }
    }

    /// Gives it this input to its end, beside what is read, as long as the last is kept.
    pub(super) fn run(self, stdin: Bytes) -> (Session, Reports, AbortOnDrop<()>) {
        let Self { session, mut orders, reports } = self;
        let feeding = tokio::spawn(async move {
            if orders.feed(&stdin).await.is_ok() {
                let _ = orders.send(&Order::InputEnd).await;
            }
            // The end of the orders would be the end of the command.
            std::future::pending().await
        });
        (session, reports, AbortOnDrop(feeding))
    }
}

impl Orders {
    /// Says one thing.
    pub(super) async fn send(&mut self, order: &Order) -> std::io::Result<()> {
        self.frame.clear();
        order.encode(&mut self.frame);
        self.input.lock().await.write(&self.frame).await
    }

    /// Waits until some of so many bytes of input would be taken; how many, and they have to be sent.
    pub(super) async fn room(&self, most: usize) -> usize {
        self.credit.spend(most.min(CHUNK)).await
    }

    /// Gives input as fast as it is taken. Somebody has to read the reports meanwhile.
    pub(super) async fn feed(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.room(bytes.len()).await;
            let (now, later) = bytes.split_at(taken);
            self.send(&Order::Input(now.to_vec())).await?;
            bytes = later;
        }
        Ok(())
    }
}

impl Reports {
    /// The next report but for credits; none when the agent is gone. `Refused` if somebody else speaks in its name.
    pub(super) async fn next(&mut self) -> Result<Option<Report>> {
        loop {
            match self.decoder.next().map_err(|_| nonsense())? {
                Some(Report::Credit(bytes)) => self.credit.earn(bytes),
                Some(report) => return Ok(Some(report)),
                None => match self.ear.listening(self.outputs.next()).await? {
                    None => return Ok(None),
                    Some((Output::Stdout, bytes)) => {
                        self.ear.heard(bytes.len());
                        self.decoder.push(&bytes);
                    }
                    Some((Output::Stderr, words)) => {
                        let room = MAX_WORDS - self.words.len();
                        self.words.extend_from_slice(&words[..words.len().min(room)]);
                    }
                },
            }
        }
    }
}

/// Tells the agent that somebody is there: behind whatever it said, and while nobody looks whether it says something.
async fn answer(ear: Arc<Ear>, input: Arc<tokio::sync::Mutex<Input>>) {
    let mut alive = Vec::new();
    Order::Alive.encode(&mut alive);
    // Half of the time at most, each: sooner where much is said.
    let pause = async || drop(timeout(ALIVE_EVERY / 2, ear.much.notified()).await);
    loop {
        let change = ear.change.notified();
        if ear.listens.load(Ordering::Acquire) && ear.heard.load(Ordering::Acquire) == 0 {
            change.await;
            continue;
        }
        // The first is the order that it waits for; where it is gone, the reports tell.
        pause().await;
        ear.heard.store(0, Ordering::Release);
        if input.lock().await.write(&alive).await.is_err() {
            return;
        }
        pause().await;
    }
}

impl Ear {
    /// Waits for what is said.
    async fn listening<T>(&self, next: impl Future<Output = T>) -> T {
        let _listening = Listening(self);
        self.listens.store(true, Ordering::Release);
        next.await
    }

    fn heard(&self, bytes: usize) {
        if self.heard.fetch_add(bytes, Ordering::AcqRel) + bytes >= ALIVE_AFTER {
            self.much.notify_one();
        }
    }
}

/// Somebody waits, until this is dropped.
struct Listening<'a>(&'a Ear);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.listens.store(false, Ordering::Release);
        self.0.change.notify_one();
    }
}

impl Credit {
    /// Waits for some, and takes at most so much.
    async fn spend(&self, most: usize) -> usize {
        loop {
            let more = self.more.notified();
            {
                let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
                let spent = most.min(*bytes);
                if spent > 0 {
                    *bytes -= spent;
                    return spent;
                }
            }
            more.await;
        }
    }

    fn earn(&self, more: u32) {
        let mut bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        *bytes = bytes.saturating_add(more as usize).min(WINDOW);
        self.more.notify_one();
    }
}

impl Engine {
    /// The exit code of an agent that is gone without a word, and whether its container stopped: then nothing in it
    /// lives on.
    pub(super) async fn lost(&self, grant: &ContainerGrant, session: &Session) -> Result<(i64, bool)> {
        let code = self.exit_code(session).await?;
        let status = self.status(grant, self.deadline()).await;
        let stopped = match status {
            Ok(status) => !status.is_running(),
            Err(error) => error.kind == Kind::NotFound,
        };
        Ok((code, stopped))
    }

    /// What it means that a connection into a container broke off: mostly that the container went away under it.
    pub(super) async fn broken(&self, grant: &ContainerGrant, error: Error) -> Error {
        if error.kind != Kind::EngineDown {
            return error;
        }
        // Processes are gone a moment before Podman knows of it.
        let noted = Deadline::after(NOTED);
        loop {
            // Podman tells it behind a removal, which may take its time.
            match self.status(grant, self.deadline()).await {
                Ok(status) if !matches!(status.word.as_str(), "running" | "paused") => {
                    return error.said(Kind::Conflict, "the container stopped meanwhile");
                }
                Ok(_) if noted.left().is_zero() => return error,
                Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(gone) if gone.kind == Kind::NotFound => return gone,
                Err(_) => return error,
            }
        }
    }
}

/// Whether an agent that ended like this without a word was cut off from us, and not killed: it ends by itself when nobody
/// is there any more, and the command with it.
pub(super) fn left_alone(code: i64) -> bool {
    code < 128
}

/// What that is to the caller.
pub(super) fn cut_off() -> Error {
    Error::new(Kind::EngineDown, "the connection to the command broke, which ended it")
}

/// Whoever is root in a container may be its agent.
pub(super) fn nonsense() -> Error {
    Error::new(Kind::Refused, "what supervises commands in this container was tampered with")
}

/// Linux's numbers, as told by the agent.
const ENOENT: u32 = 2;
const E2BIG: u32 = 7;
const EAGAIN: u32 = 11;
const EACCES: u32 = 13;
const EPERM: u32 = 1;
const ENOEXEC: u32 = 8;
const ENOTDIR: u32 = 20;
const EISDIR: u32 = 21;
const ECONNREFUSED: u32 = 111;

/// Why nothing was started.
fn not_started(failure: Failure) -> Error {
    let Failure { stage, errno } = failure;
    let (kind, message) = match (stage, errno) {
        (Stage::Execute, ENOENT | ENOTDIR) => (Kind::NoCommand, "the command was not found in the container"),
        (Stage::Execute, EACCES | EPERM | EISDIR) => {
            (Kind::Refused, "the command may not be executed in the container")
        }
        (Stage::Execute, ENOEXEC) => (Kind::Refused, "the command is neither a program nor a script with a #! line"),
        (Stage::Execute, E2BIG) => (Kind::Refused, "the command and its environment are too long"),
        (Stage::Directory, ENOENT | ENOTDIR) => (Kind::Refused, "no such working directory in the container"),
        (Stage::Directory, EACCES | EPERM) => (Kind::Refused, "the working directory may not be entered by this user"),
        (Stage::Prepare, EAGAIN) => (Kind::Conflict, "the container has as many processes as it may have"),
        (Stage::Connect, ECONNREFUSED) => (Kind::Conflict, "nothing in the container listens on that port"),
        _ => (Kind::Refused, "the command could not be started in the container"),
    };
    Error::new(kind, message).because(format!("{stage:?}: error {errno}"))
}
