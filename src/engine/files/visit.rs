//! The agent at work on one container's files: in the container itself while that runs, else in a visitor.
//!
//! In the container it sees what the container's processes see: what is mounted there in memory, and the files that Podman
//! puts over the image's. Where it cannot run there, because the container is stopped or paused, full of processes or made
//! without it, a visitor sees what lies on the disk.

use podgate_agent::protocol;

use super::talk::Talk;
use super::visitor::Stay;
use crate::domain::{Error, ExecUser, Kind, Result};
use crate::engine::exec::Process;
use crate::engine::{Deadline, Engine, Lane};
use crate::policy::grant::ContainerGrant;

/// What the agent is started with.
const WORDS: [&str; 2] = [protocol::PATH, "files"];

/// A visit that lasts until this is dropped. The connection goes first, which is the agent's end.
pub(super) struct Visit {
    pub talk: Talk,
    _stay: Option<Stay>,
    _lane: Lane,
}

impl Visit {
    /// Begins one, as soon as the tenant may have one more.
    pub(super) async fn begin(engine: &Engine, grant: &ContainerGrant, deadline: Deadline) -> Result<Self> {
        let lane = engine.transfers.enter(grant.tenant(), deadline).await?;
        if let Some(talk) = Self::within(engine, grant, deadline).await? {
            return Ok(Self { talk, _stay: None, _lane: lane });
        }
        let (talk, stay) = Stay::begin(engine, grant, deadline).await?;
        Ok(Self { talk, _stay: Some(stay), _lane: lane })
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
