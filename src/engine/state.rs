//! What a container's state allows, and how to say that it does not.

use super::{Deadline, Engine, PROBE_PATIENCE};
use crate::domain::{Error, Kind, Result};
use crate::policy::grant::{Audited, ContainerGrant};

/// Podman's words where a state forbids something. They seldom say which it is.
const IMPROPER: &[&str] = &[
    "container state improper",
    "can only be used on running containers",
    "cannot create exec session",
    "cannot exec in a container that is not running",
];

/// Said where what was asked for needs a container that is not paused.
pub(super) const PAUSED: &str = "the container is paused; unpause it first";

impl Engine {
    /// Has the processes of a paused container go on, for frozen they neither end nor die: Podman sends the signal, waits
    /// for the end in vain, and forgets that the container is paused (4.3.1 and 5.4.2).
    pub(super) async fn thaw(&self, grant: &Audited<ContainerGrant>, deadline: Deadline) -> Result<()> {
        if self.status(grant, deadline).await?.word != "paused" {
            return Ok(());
        }
        match self.unpause(grant, deadline).await {
            // Somebody else did, or it is gone.
            Err(error) if error.kind == Kind::Conflict => Ok(()),
            other => other,
        }
    }

    /// The outcome, and if the container's state is what stood in the way, which that is.
    pub(super) async fn in_its_state<T>(&self, grant: &ContainerGrant, outcome: Result<T>) -> Result<T> {
        let error = match outcome {
            Err(error) if error.kind == Kind::Conflict => error,
            other => return other,
        };
        let said = error.cause.as_deref().unwrap_or_default();
        if !IMPROPER.iter().any(|words| said.contains(words)) {
            return Err(error);
        }
        Err(self.standing(grant, error).await)
    }

    /// The error with the state that the container is in now.
    pub(super) async fn standing(&self, grant: &ContainerGrant, error: Error) -> Error {
        let status = self.status(grant, self.deadline().within(PROBE_PATIENCE)).await;
        match status.as_ref().map(|status| message(&status.word)) {
            Ok(Some(message)) => error.said(Kind::Conflict, message),
            _ => error,
        }
    }
}

/// None where the state says nothing, such as of one that runs by now.
fn message(word: &str) -> Option<&'static str> {
    Some(match word {
        "paused" => PAUSED,
        "stopping" => "the container is stopping; wait for its end",
        "removing" => "the container is being removed",
        "created" | "initialized" => "the container is not running: it was not started yet",
        "stopped" | "exited" => "the container is not running",
        _ => return None,
    })
}
