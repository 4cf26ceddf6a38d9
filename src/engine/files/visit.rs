//! The agent at work on one container's files: in the container itself while that runs, else in a visitor.
//!
//! In the container it sees what the container's processes see: what is mounted there in memory, and the files that Podman
//! puts over the image's. Where it cannot run there, because the container is stopped or paused, full of processes or made
//! without it, a visitor sees what lies on the disk.

use podgate_agent::protocol;
use podgate_agent::protocol::files::{Ask, Tell};

use super::talk::{Talk, nonsense};
use super::visitor::Stay;
use crate::domain::{Error, ExecUser, Kind, Result};
use crate::engine::exec::Process;
use crate::engine::state::PAUSED;
use crate::engine::{Deadline, Engine, Lane};
use crate::policy::grant::ContainerGrant;

/// What the agent is started with.
const WORDS: [&str; 2] = [protocol::PATH, "files"];

/// A visit that lasts until this is dropped. The connection goes first, which is the agent's end.
pub(super) struct Visit {
    talk: Talk,
    engine: Engine,
    grant: ContainerGrant,
    stay: Option<Stay>,
    _lane: Lane,
}

impl Visit {
    /// Begins one, as soon as the tenant may have one more.
    pub(super) async fn begin(
        engine: &Engine,
        grant: &ContainerGrant,
        changes: bool,
        deadline: Deadline,
    ) -> Result<Self> {
        let lane = engine.transfers.enter(grant.tenant(), deadline).await?;
        let (talk, stay) = match Self::within(engine, grant, deadline).await? {
            Some(talk) => (talk, None),
            None => match Stay::begin(engine, grant, changes, deadline).await {
                Ok((talk, stay)) => (talk, Some(stay)),
                Err(error) => return Err(unless_gone(engine, grant, error).await),
            },
        };
        Ok(Self { talk, engine: engine.clone(), grant: grant.clone(), stay, _lane: lane })
    }

    /// Asks, and does not wait for an answer.
    pub(super) async fn say(&mut self, ask: &Ask) -> Result<()> {
        let said = self.talk.say(ask).await;
        self.explained(said).await
    }

    /// The next thing said. A refusal is an error.
    pub(super) async fn hear(&mut self) -> Result<Tell> {
        let heard = self.talk.hear().await;
        self.explained(heard).await
    }

    /// Asks, and hears the answer.
    pub(super) async fn ask(&mut self, ask: &Ask) -> Result<Tell> {
        self.say(ask).await?;
        self.hear().await
    }

    /// Asks for something that is answered by its being done.
    pub(super) async fn have_done(&mut self, ask: &Ask) -> Result<u64> {
        match self.ask(ask).await? {
            Tell::Done(number) => Ok(number),
            other => Err(nonsense(&other)),
        }
    }

    /// Before anything is moved or taken away: `Conflict` where a visitor would do it to a container with processes. What
    /// is mounted in there cannot be moved from inside; from here it could, with what is mounted on it.
    pub(super) async fn may_move(&mut self) -> Result<()> {
        if self.stay.is_none() {
            return Ok(());
        }
        let status = self.engine.status(&self.grant, self.engine.deadline()).await?;
        match status.word.as_str() {
            "paused" => Err(Error::new(Kind::Conflict, PAUSED)),
            _ if status.is_running() => {
                let message = "the gateway's agent cannot be started in the container, and only from inside something may be moved or removed; stop it first";
                Err(Error::new(Kind::Conflict, message))
            }
            _ => Ok(()),
        }
    }

    /// Whether something was said that ends what is going on.
    pub(super) fn is_answered(&self) -> bool {
        self.talk.is_answered()
    }

    /// Where the conversation broke off, with what became of the container.
    async fn explained<T>(&mut self, outcome: Result<T>) -> Result<T> {
        match outcome {
            Err(error) if error.kind == Kind::EngineDown => match self.engine.broken(&self.grant, error).await {
                // Podman may be well: its words are not known here.
                error if error.kind == Kind::EngineDown => {
                    Err(error.said(Kind::EngineDown, "the way to the container's files broke off; try again"))
                }
                error => Err(error),
            },
            outcome => outcome,
        }
    }

    /// In the container itself; none where that cannot be.
    async fn within(engine: &Engine, grant: &ContainerGrant, deadline: Deadline) -> Result<Option<Talk>> {
        if !engine.has_agent(grant) || engine.known_status(grant, deadline).await?.word != "running" {
            return Ok(None);
        }
        let root = ExecUser::parse("0:0").map_err(Error::internal)?;
        let words = WORDS.map(str::to_owned);
        let process = Process { words: &words, user: Some(&root), environment: Vec::new(), workdir: Some("/") };
        let begin = async {
            let (_, connection) = engine.start_process(grant, process, deadline).await?;
            deadline.bound(Talk::begin(connection, engine.patience())).await
        };
        match begin.await {
            Ok(talk) => Ok(Some(talk)),
            // Nothing was begun yet. Where Podman does not answer, it will not answer the visitor either.
            Err(error) if matches!(error.kind, Kind::EngineTimeout | Kind::RateLimited(_) | Kind::NotFound) => {
                Err(error)
            }
            Err(error) => {
                tracing::debug!(?error, "the agent cannot run in the container; a visitor comes");
                Ok(None)
            }
        }
    }
}

/// Why nobody could visit: it may be that the container was removed meanwhile, of which Podman says many things.
async fn unless_gone(engine: &Engine, grant: &ContainerGrant, error: Error) -> Error {
    if !matches!(error.kind, Kind::Engine | Kind::EngineDown | Kind::NoPath) {
        return error;
    }
    match engine.status(grant, engine.deadline()).await {
        Err(gone) if gone.kind == Kind::NotFound => gone,
        Ok(status) if status.word == "removing" => error.said(Kind::Conflict, "the container is being removed"),
        _ => error,
    }
}
