//! Containers: start, stop, remove, look.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::StatusCode;
use podman_api::opts::ContainerDeleteOpts;
use serde::Deserialize;

use super::annotations::Annotations;
use super::spec::{CONTAINER, INSTALLATION, VISITOR, is_visitor_name, own_label, own_labels};
use super::state::PAUSED;
use super::{Deadline, Engine, PROBE_PATIENCE, agent, failure};
use crate::domain::{EngineId, Kind, Result, Signal};
use crate::policy::grant::{Audited, ContainerGrant, SystemGrant};

/// How a container is, in Podman's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// created, running, exited, paused, …
    pub word: String,
    /// Of the main process, once it ended.
    pub exit_code: Option<i64>,
    /// RFC 3339; none if it never ran.
    pub started_at: Option<String>,
    /// RFC 3339; none while it runs.
    pub finished_at: Option<String>,
}

/// A container that carries this installation's labels.
#[derive(Debug, Clone)]
pub struct Labelled {
    /// Podman's identifier.
    pub engine_id: EngineId,
    /// What its label says of the ledger. A tenant cannot write it, an image may: believe it only if the ledger agrees.
    pub row_id: String,
    /// What Podman calls it: the tenant's name, a dot, and its own.
    pub name: String,
    visitor: Option<String>,
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "State")]
    state: InspectedState,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct InspectedState {
    status: String,
    #[serde(default)]
    exit_code: i64,
    #[serde(default)]
    started_at: String,
    #[serde(default)]
    finished_at: String,
}

/// What tells whether a container is the one that a row of the ledger means.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Made {
    pub(super) id: String,
    #[serde(default)]
    name: String,
    config: MadeConfig,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct MadeConfig {
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    annotations: Option<Annotations>,
}

/// One of a list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

impl Made {
    pub(super) fn label(&self, name: &str) -> Option<&str> {
        self.config.labels.as_ref()?.get(name).map(String::as_str)
    }

    pub(super) fn annotations(&self) -> Option<&Annotations> {
        self.config.annotations.as_ref()
    }
}

impl Labelled {
    /// The gateway that made it to install the agent through, if that is what it is.
    pub fn installer(&self) -> Option<&str> {
        self.row_id.strip_prefix(agent::INSTALLER)
    }

    /// The gateway that sent it to a tenant's files, and that tenant's identifier, if it is a visitor: of a name that no
    /// tenant's container has, whatever its image says.
    pub fn visitor(&self) -> Option<(&str, &str)> {
        let visitor = self.visitor.as_ref().filter(|_| is_visitor_name(&self.name))?;
        visitor.split_once('.')
    }
}

impl Status {
    /// Of one that Podman does not answer for.
    pub fn unknown() -> Self {
        Self { word: "unknown".into(), exit_code: None, started_at: None, finished_at: None }
    }

    /// Whether it holds what running ones hold.
    pub fn is_running(&self) -> bool {
        matches!(self.word.as_str(), "running" | "paused" | "stopping" | "restarting")
    }
}

impl Engine {
    /// Freezes its processes. `Conflict` if it does not run, or is paused.
    pub async fn pause(&self, grant: &Audited<ContainerGrant>, deadline: Deadline) -> Result<()> {
        let container = self.podman.containers().get(grant.engine_id().as_str());
        let call = async { container.pause().await.map_err(failure::of_client) };
        let outcome = self.change(grant, deadline, self.timed("POST containers/{id}/pause", call)).await;
        outcome.map_err(|error| match &*error.message {
            PAUSED => error.said(Kind::Conflict, "the container is paused already"),
            _ => error,
        })
    }

    /// Thaws its processes. `Conflict` if it is not paused.
    pub async fn unpause(&self, grant: &Audited<ContainerGrant>, deadline: Deadline) -> Result<()> {
        let container = self.podman.containers().get(grant.engine_id().as_str());
        let call = async { container.unpause().await.map_err(failure::of_client) };
        let outcome = self.change(grant, deadline, self.timed("POST containers/{id}/unpause", call)).await;
        outcome.map_err(|error| match error.kind {
            Kind::Conflict => error.said(Kind::Conflict, "the container is not paused"),
            _ => error,
        })
    }

    /// Sends its main process a signal. `Conflict` if it does not run. One that is paused gets it when it goes on; what
    /// ends it has it go on.
    pub async fn kill(&self, grant: &Audited<ContainerGrant>, signal: Signal, deadline: Deadline) -> Result<()> {
        let container = self.podman.containers().get(grant.engine_id().as_str());
        let call = async {
            // In the same turn, so that nobody freezes it in between.
            if signal == Signal::KILL {
                match container.unpause().await.map_err(failure::of_client) {
                    Err(error) if error.kind == Kind::Conflict => {}
                    other => other?,
                }
            }
            container.send_signal(signal.as_str()).await.map_err(failure::of_client)
        };
        self.change(grant, deadline, self.timed("POST containers/{id}/kill", call)).await
    }

    /// Asks the main process to end, and kills it after `patience`; fine if it does not run. One that is paused goes on
    /// first. The deadline grows by `patience`, which the caller chose.
    pub async fn stop(&self, grant: &Audited<ContainerGrant>, patience: Duration, deadline: Deadline) -> Result<()> {
        let _lane = self.long.enter(grant.tenant(), deadline).await?;
        self.answering(grant, deadline).await?;
        self.thaw(grant, deadline).await?;
        let _touched = self.touching(grant);
        let path = format!("/v4.0.0/libpod/containers/{}/stop?timeout={}", grant.engine_id(), patience.as_secs());
        let answer = deadline.extended(patience).bound(self.wire.post(&path)).await;
        self.learn(grant.engine_id(), &answer);
        let answer = answer?;
        if answer.status == StatusCode::NOT_MODIFIED {
            return Ok(());
        }
        self.in_its_state(grant, answer.checked()).await.map(drop)
    }

    /// Takes it away at once, running or not, with its anonymous volumes; fine if it is gone.
    pub async fn remove(&self, grant: &Audited<ContainerGrant>, deadline: Deadline) -> Result<()> {
        let _heavy = self.heavy.enter(grant.tenant(), deadline).await?;
        // A removal that hangs keeps one of the few slots that all removals of the host share, until Podman is
        // restarted: none is sent before the container answered a look, however short ago its last call was.
        let path = format!("/v4.0.0/libpod/containers/{}/json", grant.engine_id());
        let look = async { self.wire.get(&path).await?.checked() };
        let remove = async {
            match deadline.within(PROBE_PATIENCE).bound(look).await {
                Err(error) if matches!(error.kind, Kind::EngineTimeout | Kind::EngineDown) => Err(error),
                Err(error) if error.kind == Kind::NotFound => Ok(()),
                // Podman has an answer, if not a good one.
                _ => self.delete(grant.engine_id()).await,
            }
        };
        self.change(grant, deadline, remove).await?;
        self.index.forget(grant.engine_id());
        Ok(())
    }

    /// Takes away a container that no row owns.
    pub async fn remove_orphan(
        &self,
        _grant: &Audited<SystemGrant>,
        orphan: &Labelled,
        deadline: Deadline,
    ) -> Result<()> {
        deadline.bound(self.delete(&orphan.engine_id)).await
    }

    pub(super) async fn delete(&self, engine_id: &EngineId) -> Result<()> {
        let container = self.podman.containers().get(engine_id.as_str());
        let opts = ContainerDeleteOpts::builder().force(true).volumes(true).timeout(0).build();
        // Podman's own clean-up of the killed process may still hold a mount ("device or resource busy").
        let delete = || async {
            let call = async { container.delete(&opts).await.map_err(failure::of_client) };
            match self.timed("DELETE containers/{id}", call).await {
                Err(error) if error.kind == Kind::NotFound => Ok(()),
                other => other,
            }
        };
        self.patiently(delete).await
    }

    /// Whether Podman has a container of this id, whosever it is.
    pub async fn has(&self, _grant: &SystemGrant, id: &EngineId) -> Result<bool> {
        let path = format!("/v4.0.0/libpod/containers/{id}/exists");
        let answer = self.deadline().within(PROBE_PATIENCE).bound(self.wire.get(&path)).await?;
        if answer.status == StatusCode::NOT_FOUND { Ok(false) } else { answer.checked().map(|_| true) }
    }

    /// How it is, as last seen if nothing happened since. `NotFound` if Podman does not have it.
    pub async fn known_status(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Status> {
        let known = self.index.known(grant.engine_id()).filter(|_| !self.wedged.is_marked(grant.engine_id()));
        match known {
            Some(status) => Ok(status),
            None => self.status(grant, deadline).await,
        }
    }

    /// How it is now. `NotFound` if Podman does not have it.
    pub async fn status(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Status> {
        let path = format!("/v4.0.0/libpod/containers/{}/json", grant.engine_id());
        let ask = async { self.wire.get(&path).await?.checked() };
        let begun = self.index.begin(grant.engine_id());
        let answer = self.on(grant, deadline, ask).await.inspect_err(|error| {
            if error.kind == Kind::NotFound {
                self.index.forget(grant.engine_id());
            }
        })?;
        let InspectedState { status, exit_code, started_at, finished_at } = answer.json::<Inspected>()?.state;
        // Go writes the year 1 for "never".
        let time = |text: String| Some(text).filter(|text| !text.is_empty() && !text.starts_with("0001-"));
        let mut status = Status { word: status, exit_code: None, started_at: time(started_at), finished_at: None };
        if !status.is_running() {
            status.finished_at = time(finished_at);
            status.exit_code = status.finished_at.is_some().then_some(exit_code);
        }
        self.index.learn(grant.engine_id(), begun, &status);
        Ok(status)
    }

    /// The containers that carry this installation's label, for cleaning up after a crash. The filter is exact and
    /// never empty (SECURITY rule 30: an empty value matches everybody's).
    pub async fn labelled(
        &self,
        _grant: &SystemGrant,
        installation: &str,
        deadline: Deadline,
    ) -> Result<Vec<Labelled>> {
        self.listed(installation, &own_label(installation)?, deadline).await
    }

    /// All visitors among them. Whatever else there is is not asked, so that a wedged container does not matter.
    pub async fn visitors(&self, _grant: &SystemGrant, installation: &str) -> Result<Vec<Labelled>> {
        self.listed(installation, &own_labels(installation, &[VISITOR])?, self.deadline()).await
    }

    async fn listed(&self, installation: &str, filter: &str, deadline: Deadline) -> Result<Vec<Labelled>> {
        let path = format!("/v4.0.0/libpod/containers/json?all=true&filters={filter}");
        let ask = async { self.wire.get(&path).await?.checked()?.json::<Vec<Listed>>() };
        let ours = deadline.bound(ask).await?.into_iter().filter_map(|listed| {
            let labels = listed.labels?;
            let same = labels.get(INSTALLATION).is_some_and(|value| value == installation);
            let engine_id = EngineId::parse(&listed.id).ok()?;
            let name = listed.names.and_then(|names| names.into_iter().next()).unwrap_or_default();
            let row_id = labels.get(CONTAINER).cloned().unwrap_or_default();
            same.then(|| Labelled { engine_id, row_id, name, visitor: labels.get(VISITOR).cloned() })
        });
        Ok(ours.collect())
    }

    /// One container, if it carries this installation's label.
    pub async fn labelled_one(
        &self,
        _grant: &SystemGrant,
        installation: &str,
        id: &EngineId,
        deadline: Deadline,
    ) -> Result<Option<Labelled>> {
        let path = format!("/v4.0.0/libpod/containers/{id}/json");
        let ask = async { self.wire.get(&path).await?.checked()?.json::<Made>() };
        let made = match deadline.bound(ask).await {
            Err(error) if error.kind == Kind::NotFound => return Ok(None),
            made => made?,
        };
        if made.label(INSTALLATION) != Some(installation) {
            return Ok(None);
        }
        let row_id = made.label(CONTAINER).unwrap_or_default().to_owned();
        let visitor = made.label(VISITOR).map(str::to_owned);
        Ok(Some(Labelled { engine_id: id.clone(), row_id, name: made.name, visitor }))
    }
}
