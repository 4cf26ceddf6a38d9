//! The main process's standard streams, while it runs.

use bytes::Bytes;
use futures_util::{Stream, stream};
use serde::Deserialize;

use super::frames::Output;
use super::hijack::{self, Hijacked};
use super::{Deadline, Engine, failure};
use crate::domain::{Error, Kind, Result};
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
            // No keys that detach: what is sent is the process's, all of it.
            let path = format!(
                "/v4.0.0/libpod/containers/{id}/attach?logs=false&stream=true&stdin={}&stdout=true&stderr=true&detachKeys=",
                config.open_stdin
            );
            Ok(Attached {
                connection: Hijacked::new(self.wire.hijack(&path, Bytes::new()).await?),
                takes_input: config.open_stdin,
            })
        };
        self.on(grant, deadline, connect).await
    }
}

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
