//! The main process's standard streams, while it runs.

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Deserialize;

use super::frames::Output;
use super::hijack::{self, Hijacked};
use super::{Deadline, Engine, failure};
use crate::domain::{EngineId, Error, Kind, Result};
use crate::policy::grant::{Audited, ContainerGrant};

/// A connection to a main process; dropping it leaves the process. Podman then ends its standard input (4.3.1 and 5.4.2,
/// whoever leaves).
pub struct Attached {
    connection: Hijacked,
    takes_input: bool,
}

/// What goes to the main process.
pub struct Input(Option<hijack::Input>);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    state: State,
    config: Config,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: String,
    #[serde(default)]
    conmon_pid: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(default)]
    open_stdin: bool,
}

impl Engine {
    /// Connects to the main process's streams, from now on. `Conflict` if it does not run: Podman would get a container
    /// that has ended ready to run again.
    pub async fn attach(&self, grant: &Audited<ContainerGrant>, deadline: Deadline) -> Result<Attached> {
        let id = grant.engine_id();
        let connect = async {
            let path = format!("/v4.0.0/libpod/containers/{id}/json");
            let Inspected { state, config } = self.wire.get(&path).await?.checked()?.json()?;
            if !matches!(state.status.as_str(), "running" | "paused") {
                return Err(Error::new(Kind::Conflict, "the container is not running"));
            }
            let takes_input = config.open_stdin && !grant.row().ends_stdin;
            // No keys that detach: what is sent is the process's, all of it.
            let path = format!(
                "/v4.0.0/libpod/containers/{id}/attach?logs=false&stream=true&stdin={takes_input}&stdout=true&stderr=true&detachKeys="
            );
            Ok(Attached { connection: Hijacked::new(self.wire.hijack(&path, Bytes::new()).await?), takes_input })
        };
        self.on(grant, deadline, connect).await
    }

    /// Starts a container whose main process finds its input at its end. Podman would give it the host's /dev/null, and
    /// crun that to the container's root (docs/decisions/0030-standard-input.md): so it is a pipe, which is ended here.
    pub(super) async fn start_without_input(&self, id: &EngineId) -> Result<()> {
        // Ready to run, so that the process never sees another input.
        let mut ready = None;
        for _ in 0..INPUT_TRIES {
            self.make_ready(id).await?;
            let ended = self.end_input(id).await;
            ready = self.monitor(id).await?;
            let came_between = ended.err().is_none_or(|error| came_between(&error));
            if ready.is_some() || !came_between {
                break;
            }
        }
        // Whatever is wrong says so here.
        self.start_as_it_is(id).await?;
        for _ in 0..INPUT_TRIES {
            match self.input_ended(id, ready).await {
                Ok(()) => return Ok(()),
                Err(error) => tracing::warn!(container.id = %id, ?error, "an input was not ended"),
            }
        }
        Ok(())
    }

    /// The first half of a start, which says why there will be none. To attach would do it as well, and say nothing; and where
    /// it fails, Podman 5 has the host's ports for a moment, so it is not tried twice.
    async fn make_ready(&self, id: &EngineId) -> Result<()> {
        let answer = self.wire.post(&format!("/v4.0.0/libpod/containers/{id}/init")).await?;
        match answer.checked() {
            Err(error) if matches!(error.kind, Kind::NoCommand | Kind::NoPath | Kind::Refused | Kind::NotFound) => {
                Err(error)
            }
            // It is ready, or runs, or the start has more to say.
            _ => Ok(()),
        }
    }

    /// Of one that has ended there is none, and to attach would make it ready to run again.
    async fn input_ended(&self, id: &EngineId, ready: Option<u32>) -> Result<()> {
        let now = self.monitor(id).await?;
        if now.is_none() || now == ready { Ok(()) } else { self.end_input(id).await }
    }

    /// Attaches, and leaves at once by the key for that, whereupon Podman ends the input: where one just hangs up it keeps
    /// the connection, to read the output.
    async fn end_input(&self, id: &EngineId) -> Result<()> {
        let path = format!(
            "/v4.0.0/libpod/containers/{id}/attach?logs=false&stream=true&stdin=true&stdout=false&stderr=false&detachKeys=q"
        );
        let Hijacked { mut input, mut outputs } = Hijacked::new(self.wire.hijack(&path, Bytes::new()).await?);
        input.write(b"q").await.map_err(failure::unreachable)?;
        // To the end, before which it is not done.
        while outputs.next().await?.is_some() {}
        Ok(())
    }

    /// The process on the host that has the container's streams, where it runs or is ready to.
    async fn monitor(&self, id: &EngineId) -> Result<Option<u32>> {
        let path = format!("/v4.0.0/libpod/containers/{id}/json");
        let Inspected { state, .. } = self.wire.get(&path).await?.checked()?.json()?;
        Ok(matches!(state.status.as_str(), "initialized" | "running").then_some(state.conmon_pid))
    }
}

/// Whether it may be that Podman's clean-up behind the container's last end came before or between, which 4.3.1 tells in
/// several ways, all of the connection or the state.
fn came_between(error: &Error) -> bool {
    matches!(error.kind, Kind::Conflict | Kind::Engine | Kind::EngineDown)
}

/// How often it is tried to end an input, before and after the start.
const INPUT_TRIES: u32 = 3;

impl Attached {
    /// Both directions. The output ends with the process.
    pub fn split(self) -> (impl Stream<Item = Result<(Output, Bytes)>> + Send + Unpin, Input) {
        let Hijacked { input, outputs } = self.connection;
        let pieces =
            stream::try_unfold(outputs, async |mut outputs| Ok(outputs.next().await?.map(|piece| (piece, outputs))));
        (Box::pin(pieces), Input(self.takes_input.then_some(input)))
    }
}

impl Input {
    /// Writes all of it, as fast as the process reads. `Conflict` if the container was made without input.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let none = || Error::new(Kind::Conflict, "the container was made without standard input");
        let input = self.0.as_mut().ok_or_else(none)?;
        input.write(bytes).await.map_err(failure::unreachable)
    }
}
