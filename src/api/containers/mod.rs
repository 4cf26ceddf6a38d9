//! Containers of the caller's tenant.

mod cursor;
mod shape;

use std::collections::BTreeMap;
use std::future::ready;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;

use super::caller::{Caller, ContainersRead, ContainersWrite};
use super::error::invalid_parameter;
use super::json::Strict;
use super::model::Command;
use super::parameter::Flag;
use super::{Context, Tag};
use crate::domain::{Kind, PublishedPort, Result, Signal, WantedLabel, timestamp_ms};
use crate::engine::{Deadline, Status};
use crate::policy::grant::{Audited, ContainerGrant};
use crate::policy::{Change, CreateRequest, Intent, LimitsRequest, PortRequest, Read, Remove, Stop};
use crate::store::State;

use cursor::Cursor;
use shape::*;

pub struct Containers(pub Context);

/// How long Podman may take to say how one container is.
const STATUS_PATIENCE: Duration = Duration::from_secs(5);

/// How many containers are asked about at once for one list.
const LIST_CALLS: usize = 4;

/// What a list can be asked for: Podman's words, and ours.
pub(super) const STATUSES: &[&str] =
    &["created", "initialized", "running", "paused", "stopping", "stopped", "exited", "removing", "unknown"];

#[OpenApi(tag = "Tag::Containers")]
impl Containers {
    /// Create a container
    ///
    /// Makes a container from an allowed image and starts it, unless `start` is false. Names are per tenant.
    #[oai(path = "/containers", method = "post", operation_id = "createContainer")]
    async fn create(
        &self,
        who: Caller<ContainersWrite>,
        body: Strict<CreateContainerRequest>,
    ) -> poem::Result<Json<ContainerCreatedResponse>> {
        let Strict(body, _) = body;
        let ports = body.ports.unwrap_or_default();
        let limits = body.limits.unwrap_or_default();
        let request = CreateRequest {
            image: body.image,
            name: body.name,
            command: body.command.map(Command::parse),
            entrypoint: body.entrypoint,
            environment: body.environment.unwrap_or_default(),
            ports: ports.into_iter().map(|(host, container)| PortRequest { host, container }).collect(),
            volumes: body.volumes.unwrap_or_default(),
            workdir: body.workdir,
            user: body.user,
            labels: body.labels.unwrap_or_default(),
            limits: LimitsRequest { memory_bytes: limits.memory_bytes, cpus: limits.cpus, pids: limits.pids },
            expires_in: body.expires_in,
            profile: body.profile,
            pull: body.pull,
            stdin: body.stdin.unwrap_or(false),
            start: body.start.unwrap_or(true),
        };
        let grant = self.0.policy.create(who.principal(), request).await?;
        let made = self.0.lifecycle.create(grant, who.attempt().cloned()).await?;
        Ok(ContainerCreatedResponse::of(ContainerSummary {
            id: made.grant.engine_id().short().into(),
            name: made.grant.row().name.to_string(),
            status: made.status.word,
            ports: Some(port_map(&made.ports)).filter(|ports| !ports.is_empty()),
            expires: made.grant.row().expires_ms.map(timestamp_ms),
        }))
    }

    /// List containers
    ///
    /// The containers of the caller's tenant, oldest first: all of them, or `limit` at a time.
    #[oai(path = "/containers", method = "get", operation_id = "listContainers")]
    async fn list(
        &self,
        who: Caller<ContainersRead>,
        /// Only those of this status: created, initialized, running, paused, stopping, stopped, exited, removing or
        /// unknown.
        status: Query<Option<String>>,
        /// Only those with this label, `name=value`; given several times, those with all of them.
        label: Query<Option<Vec<String>>>,
        /// At most so many; the answer's `next_cursor` continues.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the answer before.
        cursor: Query<Option<String>>,
    ) -> poem::Result<Json<ContainerListResponse>> {
        if status.0.as_deref().is_some_and(|word| !STATUSES.contains(&word)) {
            return Err(invalid_parameter("status", &format!("must be one of {}", STATUSES.join(", "))).into());
        }
        let labels = label.0.iter().flatten().map(|text| WantedLabel::parse(text)).collect::<Result<Vec<_>, _>>();
        let labels = labels.map_err(|reason| invalid_parameter("label", &reason))?;
        let after = cursor.0.as_deref().map(Cursor::parse).transpose()?;
        let grants = self.0.policy.containers(who.principal()).await?;
        let is_labelled = |grant: &ContainerGrant| labels.iter().all(|wanted| grant.row().labels.has(wanted));
        let follows = |grant: &ContainerGrant| after.as_ref().is_none_or(|after| *after < Cursor::of(grant.row()));
        let grants = grants.into_iter().filter(is_labelled).filter(follows);
        let deadline = self.0.engine.deadline();
        let items = stream::iter(grants).map(|grant| self.item(grant, deadline)).buffered(LIST_CALLS);
        let mut wanted = items.try_filter(|(item, _)| ready(status.0.as_ref().is_none_or(|word| item.status == *word)));
        let limit = limit.0.map_or(usize::MAX, |limit| limit as usize);
        let mut page: Vec<(ContainerItem, Cursor)> = Vec::new();
        let mut next_cursor = None;
        while let Some(item) = wanted.try_next().await? {
            if page.len() == limit {
                next_cursor = page.last().map(|(_, cursor)| cursor.to_string());
                break;
            }
            page.push(item);
        }
        let containers = page.into_iter().map(|(item, _)| item).collect();
        Ok(Json(ContainerListResponse { success: true, containers, next_cursor }))
    }

    /// Read one container
    ///
    /// By its name, or by its id of 12 or 64 digits.
    #[oai(path = "/containers/:name", method = "get", operation_id = "getContainer")]
    async fn get(
        &self,
        who: Caller<ContainersRead>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
    ) -> poem::Result<Json<ContainerResponse>> {
        let grant = self.0.policy.container(who.principal(), who.scope(), Read, &name).await?;
        let status = self.status(&grant, self.0.engine.deadline()).await?;
        let ports = self.0.policy.published_ports(&grant).await?;
        let row = grant.row();
        Ok(ContainerResponse::of(ContainerDetail {
            id: grant.engine_id().short().into(),
            name: row.name.to_string(),
            status: status.word,
            image: row.image.clone(),
            created: timestamp_ms(row.created_ms),
            ports: port_map(&ports),
            labels: row.labels.as_map().clone(),
            profile: row.profile.clone(),
            limits: ContainerLimits {
                memory_bytes: row.promised.memory_bytes,
                cpus: row.promised.cpu_millis as f64 / 1000.0,
                pids: row.promised.pids,
            },
            expires: row.expires_ms.map(timestamp_ms),
            idle_until: row.idle_seconds.map(|seconds| timestamp_ms(row.touched_ms + seconds * 1000)),
            started_at: status.started_at,
            finished_at: status.finished_at,
            exit_code: status.exit_code,
        }))
    }

    /// Start a container
    ///
    /// Starting one that runs is fine.
    #[oai(path = "/containers/:name/start", method = "post", operation_id = "startContainer")]
    async fn start(
        &self,
        who: Caller<ContainersWrite>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
    ) -> poem::Result<Json<ContainerStateResponse>> {
        let grant = self.over(&who, Change, &name).await?;
        self.0.lifecycle.start(grant.clone()).await?;
        Ok(now(&grant, "started"))
    }

    /// Stop a container
    ///
    /// Asks its main process to end, and kills it after `timeout` seconds. Stopping one that does not run is fine; one that
    /// is paused goes on first.
    #[oai(path = "/containers/:name/stop", method = "post", operation_id = "stopContainer")]
    async fn stop(
        &self,
        who: Caller<ContainersWrite>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Seconds that the main process gets to end by itself.
        #[oai(default = "default_stop_seconds", validator(maximum(value = "300")))]
        timeout: Query<u32>,
    ) -> poem::Result<Json<ContainerStateResponse>> {
        let grant = self.over(&who, Stop, &name).await?;
        self.0.lifecycle.stop(grant.clone(), Duration::from_secs(timeout.0.into())).await?;
        Ok(now(&grant, "stopped"))
    }

    /// Restart a container
    ///
    /// Stops it as `stop` does, if it runs, and starts it.
    #[oai(path = "/containers/:name/restart", method = "post", operation_id = "restartContainer")]
    async fn restart(
        &self,
        who: Caller<ContainersWrite>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Seconds that the main process gets to end by itself.
        #[oai(default = "default_stop_seconds", validator(maximum(value = "300")))]
        timeout: Query<u32>,
    ) -> poem::Result<Json<ContainerStateResponse>> {
        let grant = self.over(&who, Change, &name).await?;
        self.0.lifecycle.restart(grant.clone(), Duration::from_secs(timeout.0.into())).await?;
        Ok(now(&grant, "restarted"))
    }

    /// Pause a container
    ///
    /// Freezes its processes. A conflict if it does not run.
    #[oai(path = "/containers/:name/pause", method = "post", operation_id = "pauseContainer")]
    async fn pause(
        &self,
        who: Caller<ContainersWrite>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
    ) -> poem::Result<Json<ContainerStateResponse>> {
        let grant = self.over(&who, Change, &name).await?;
        self.0.lifecycle.pause(&grant).await?;
        Ok(now(&grant, "paused"))
    }

    /// Unpause a container
    ///
    /// Thaws its processes. A conflict if it is not paused.
    #[oai(path = "/containers/:name/unpause", method = "post", operation_id = "unpauseContainer")]
    async fn unpause(
        &self,
        who: Caller<ContainersWrite>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
    ) -> poem::Result<Json<ContainerStateResponse>> {
        let grant = self.over(&who, Change, &name).await?;
        self.0.lifecycle.unpause(&grant).await?;
        Ok(now(&grant, "unpaused"))
    }

    /// Send a container a signal
    ///
    /// To its main process. A conflict if it does not run. One that is paused gets it when it goes on; SIGKILL has it go on
    /// and end.
    #[oai(path = "/containers/:name/kill", method = "post", operation_id = "killContainer")]
    async fn kill(
        &self,
        who: Caller<ContainersWrite>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// The signal's name, with or without `SIG`.
        #[oai(default = "default_signal")]
        signal: Query<String>,
    ) -> poem::Result<Json<ContainerStateResponse>> {
        let signal = signal.parse().map_err(|message: String| invalid_parameter("signal", &message))?;
        let grant = match signal {
            Signal::KILL => self.over(&who, Stop, &name).await?,
            _ => self.over(&who, Change, &name).await?,
        };
        self.0.lifecycle.kill(grant.clone(), signal).await?;
        Ok(now(&grant, "signalled"))
    }

    /// Renew a container
    ///
    /// Puts the time at which it goes by itself off, to `expires_in` seconds from now; without it, to the profile's
    /// default.
    #[oai(path = "/containers/:name/renew", method = "post", operation_id = "renewContainer")]
    async fn renew(
        &self,
        who: Caller<ContainersWrite>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        body: Strict<RenewContainerRequest>,
    ) -> poem::Result<Json<ContainerRenewedResponse>> {
        let grant = self.over(&who, Change, &name).await?;
        let expires_ms = self.0.policy.renew(&grant, body.0.expires_in).await?;
        let renewed = ContainerRenewed { name: grant.row().name.to_string(), expires: expires_ms.map(timestamp_ms) };
        Ok(ContainerRenewedResponse::of(renewed))
    }

    /// Remove a container
    ///
    /// With `force`, at once and whether it runs or not; without, a running one is a conflict.
    #[oai(path = "/containers/:name", method = "delete", operation_id = "removeContainer")]
    async fn remove(
        &self,
        who: Caller<ContainersWrite>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Remove it even if it runs: true, false, 1 or 0.
        #[oai(default)]
        force: Query<Flag>,
    ) -> poem::Result<Json<ContainerRemovedResponse>> {
        let grant = self.0.policy.container(who.principal(), who.scope(), Remove, &name).await?;
        let name = grant.row().name.to_string();
        self.0.lifecycle.remove(grant, force.0.0).await?;
        Ok(ContainerRemovedResponse::of(ContainerRemoved { name, removed: true }))
    }
}

impl Containers {
    /// Leave to change the container of that name.
    async fn over<I>(&self, who: &Caller<ContainersWrite>, intent: I, name: &str) -> Result<Audited<ContainerGrant>>
    where
        I: Intent<Grant = Audited<ContainerGrant>>,
    {
        self.0.policy.container(who.principal(), who.scope(), intent, name).await
    }

    async fn item(&self, grant: ContainerGrant, deadline: Deadline) -> Result<(ContainerItem, Cursor)> {
        let status = self.status(&grant, deadline).await?;
        let row = grant.row();
        let item = ContainerItem {
            id: grant.engine_id().short().into(),
            name: row.name.to_string(),
            status: status.word,
            image: row.image.clone(),
            created: timestamp_ms(row.created_ms),
            labels: Some(row.labels.as_map().clone()).filter(|labels| !labels.is_empty()),
        };
        Ok((item, Cursor::of(row)))
    }

    /// What Podman says, or what is left to say where it does not have this one or does not answer for it.
    async fn status(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Status> {
        if grant.row().state == State::Removing {
            return Ok(Status { word: "removing".into(), ..Status::unknown() });
        }
        // One that does not answer must not hold up the rest.
        match self.0.lifecycle.status(grant, deadline.within(STATUS_PATIENCE)).await {
            Err(error) if matches!(error.kind, Kind::EngineDown | Kind::StoreDown) => Err(error),
            Err(error) => {
                if !matches!(error.kind, Kind::NotFound | Kind::EngineTimeout) {
                    tracing::warn!(container.row = grant.row().id, ?error, "Podman fails for a container");
                }
                Ok(Status::unknown())
            }
            Ok(status) => Ok(status),
        }
    }
}

/// What was done to a container.
fn now(grant: &ContainerGrant, status: &str) -> Json<ContainerStateResponse> {
    ContainerStateResponse::of(ContainerState { name: grant.row().name.to_string(), status: status.into() })
}

fn port_map(ports: &[PublishedPort]) -> BTreeMap<String, String> {
    ports.iter().map(|PublishedPort { host, container }| (host.to_string(), container.to_string())).collect()
}

fn default_stop_seconds() -> u32 {
    10
}

fn default_signal() -> String {
    "SIGKILL".into()
}
