//! Containers of the caller's tenant.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, ContainersRead, ContainersWrite};
use super::json::Strict;
use super::model::{Command, answer, timestamp_ms};
use super::parameter::Flag;
use super::{Context, Tag};
use crate::domain::{Error, Kind, Result};
use crate::engine::{Deadline, LogRequest, Status};
use crate::policy::grant::ContainerGrant;
use crate::policy::{CreateRequest, Intent, PortRequest};
use crate::store::{PublishedPort, State};

pub struct Containers(pub Context);

/// How many containers are asked about at once for one list.
const LIST_CALLS: usize = 4;

/// What to create.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CreateContainerRequest {
    /// A short name that the tenant's aliases know, or a full reference; either must be on the tenant's list.
    image: String,
    /// Name within the tenant: letters, digits, `_`, `.` and `-`, at most 63.
    name: String,
    /// Instead of the image's CMD. An array runs as it is. A string without shell metacharacters is split into words
    /// and run directly; one with them runs under `/bin/sh -c`.
    command: Option<Command>,
    /// Instead of the image's ENTRYPOINT.
    entrypoint: Option<Vec<String>>,
    /// Environment variables, added to the image's.
    environment: Option<BTreeMap<String, String>>,
    /// TCP ports to publish, host port to container port. Host ports are at least 1024.
    ports: Option<BTreeMap<String, String>>,
    /// Volumes to mount, source to path. Not permitted yet: 403.
    volumes: Option<BTreeMap<String, String>>,
    /// User the main process runs as, name or number, optionally with `:group`.
    user: Option<String>,
    /// Working directory of the main process.
    workdir: Option<String>,
    /// Labels of your own.
    labels: Option<BTreeMap<String, String>>,
    /// Whether to run it at once. Default true.
    start: Option<bool>,
}

impl poem_openapi::types::Example for CreateContainerRequest {
    fn example() -> Self {
        Self {
            image: "alpine:latest".into(),
            name: "web".into(),
            command: Some("sleep 300".into()),
            entrypoint: None,
            environment: Some([("GREETING".into(), "hello".into())].into()),
            ports: None,
            volumes: None,
            user: None,
            workdir: None,
            labels: None,
            start: None,
        }
    }
}

/// A container in short.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct ContainerSummary {
    /// First 12 digits of Podman's id.
    id: String,
    /// Name within the tenant.
    name: String,
    /// Podman's word: created, running, exited, paused, …; `removing`; or `unknown` where Podman does not answer for it.
    status: String,
}

/// A container of a list.
#[derive(Object)]
struct ContainerItem {
    /// First 12 digits of Podman's id.
    id: String,
    /// Name within the tenant.
    name: String,
    /// Podman's word: created, running, exited, paused, …; `removing`; or `unknown` where Podman does not answer for it.
    status: String,
    /// The image's full reference.
    image: String,
    /// When it was created, RFC 3339.
    created: String,
}

/// Everything about one container.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct ContainerDetail {
    /// First 12 digits of Podman's id.
    id: String,
    /// Name within the tenant.
    name: String,
    /// Podman's word: created, running, exited, paused, …; `removing`; or `unknown` where Podman does not answer for it.
    status: String,
    /// The image's full reference.
    image: String,
    /// When it was created, RFC 3339.
    created: String,
    /// Published ports, host port to container port.
    ports: BTreeMap<String, String>,
    /// When it was last started, RFC 3339.
    started_at: Option<String>,
    /// When its main process ended, RFC 3339.
    finished_at: Option<String>,
    /// Exit code of its main process, once it ended.
    exit_code: Option<i64>,
}

/// A container's new state.
#[derive(Object)]
struct ContainerState {
    /// Name within the tenant.
    name: String,
    /// `started` or `stopped`.
    status: String,
}

/// A container that is gone.
#[derive(Object)]
struct ContainerRemoved {
    /// Name it had within the tenant.
    name: String,
    /// Always true.
    removed: bool,
}

/// What a container wrote.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
struct ContainerLogs {
    /// Standard output and error in the order they came, valid UTF-8.
    logs: String,
    /// True where older lines that were asked for are left out to bound the answer.
    truncated: Option<bool>,
}

answer! {
    /// The new container.
    ContainerCreatedResponse { container: ContainerSummary }
    example ContainerSummary { id: "3f4e8a1b2c6d".into(), name: "web".into(), status: "running".into() }
}
answer! {
    /// One container.
    ContainerResponse { container: ContainerDetail }
    example ContainerDetail {
        id: "3f4e8a1b2c6d".into(),
        name: "web".into(),
        status: "exited".into(),
        image: "docker.io/library/alpine:latest".into(),
        created: "2025-01-19T15:47:19.123000Z".into(),
        ports: [("8080".to_owned(), "80".to_owned())].into(),
        started_at: Some("2025-01-19T15:47:19.214Z".into()),
        finished_at: Some("2025-01-19T15:52:19.301Z".into()),
        exit_code: Some(0),
    }
}
answer! {
    /// The tenant's containers.
    ContainerListResponse { containers: Vec<ContainerItem> }
    example vec![ContainerItem {
        id: "3f4e8a1b2c6d".into(),
        name: "web".into(),
        status: "running".into(),
        image: "docker.io/library/alpine:latest".into(),
        created: "2025-01-19T15:47:19.123000Z".into(),
    }]
}
answer! {
    /// The container's new state.
    ContainerStateResponse { container: ContainerState }
    example ContainerState { name: "web".into(), status: "started".into() }
}
answer! {
    /// The container is gone.
    ContainerRemovedResponse { container: ContainerRemoved }
    example ContainerRemoved { name: "web".into(), removed: true }
}
answer! {
    /// The container's log.
    ContainerLogsResponse { container: ContainerLogs }
    example ContainerLogs { logs: "listening on 80\n".into(), truncated: None }
}

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
        let Strict(body) = body;
        if body.volumes.as_ref().is_some_and(|volumes| !volumes.is_empty()) {
            return Err(Error::new(Kind::Forbidden, "volumes are not permitted").into());
        }
        let ports = body.ports.unwrap_or_default();
        let request = CreateRequest {
            image: body.image,
            name: body.name,
            command: body.command.map(Command::parse),
            entrypoint: body.entrypoint,
            environment: body.environment.unwrap_or_default(),
            ports: ports.into_iter().map(|(host, container)| PortRequest { host, container }).collect(),
            workdir: body.workdir,
            user: body.user,
            labels: body.labels.unwrap_or_default(),
            start: body.start.unwrap_or(true),
        };
        let grant = self.0.policy.create(who.principal(), request).await?;
        let made = self.0.lifecycle.create(grant).await?;
        Ok(ContainerCreatedResponse::of(ContainerSummary {
            id: made.grant.engine_id().short().into(),
            name: made.grant.row().name.to_string(),
            status: made.status.word,
        }))
    }

    /// List containers
    ///
    /// All containers of the caller's tenant, oldest first.
    #[oai(path = "/containers", method = "get", operation_id = "listContainers")]
    async fn list(&self, who: Caller<ContainersRead>) -> poem::Result<Json<ContainerListResponse>> {
        let grants = self.0.policy.containers(who.principal()).await?;
        let deadline = self.0.engine.deadline();
        let items = stream::iter(grants).map(|grant| self.item(grant, deadline)).buffered(LIST_CALLS);
        Ok(ContainerListResponse::of(items.try_collect().await?))
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
        let grant = self.0.policy.container(who.principal(), who.scope(), Intent::Read, &name).await?;
        let status = self.status(&grant, self.0.engine.deadline()).await?;
        let ports = self.0.policy.published_ports(&grant).await?;
        let row = grant.row();
        Ok(ContainerResponse::of(ContainerDetail {
            id: grant.engine_id().short().into(),
            name: row.name.to_string(),
            status: status.word,
            image: row.image.clone(),
            created: timestamp_ms(row.created_ms),
            ports: ports
                .iter()
                .map(|PublishedPort { host, container }| (host.to_string(), container.to_string()))
                .collect(),
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
        let grant = self.0.policy.container(who.principal(), who.scope(), Intent::Change, &name).await?;
        self.0.engine.start(&grant, self.0.engine.deadline()).await?;
        let name = grant.row().name.to_string();
        Ok(ContainerStateResponse::of(ContainerState { name, status: "started".into() }))
    }

    /// Stop a container
    ///
    /// Asks its main process to end, and kills it after `timeout` seconds. Stopping one that does not run is fine.
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
        let grant = self.0.policy.container(who.principal(), who.scope(), Intent::Change, &name).await?;
        let patience = Duration::from_secs(timeout.0.into());
        self.0.engine.stop(&grant, patience, self.0.engine.deadline()).await?;
        let name = grant.row().name.to_string();
        Ok(ContainerStateResponse::of(ContainerState { name, status: "stopped".into() }))
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
        let grant = self.0.policy.container(who.principal(), who.scope(), Intent::Remove, &name).await?;
        let name = grant.row().name.to_string();
        self.0.lifecycle.remove(grant, force.0.0).await?;
        Ok(ContainerRemovedResponse::of(ContainerRemoved { name, removed: true }))
    }

    /// Read a container's log
    ///
    /// What its main process wrote, both streams in the order they came.
    #[oai(path = "/containers/:name/logs", method = "get", operation_id = "getContainerLogs")]
    async fn logs(
        &self,
        who: Caller<ContainersRead>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// The last so many lines.
        #[oai(default = "default_tail", validator(maximum(value = "10000")))]
        tail: Query<u32>,
        /// Only lines from then on, seconds since 1970.
        #[oai(validator(minimum(value = "0")))]
        since: Query<Option<i64>>,
        /// Begin each line with its time: true, false, 1 or 0.
        #[oai(default)]
        timestamps: Query<Flag>,
    ) -> poem::Result<Json<ContainerLogsResponse>> {
        let grant = self.0.policy.container(who.principal(), who.scope(), Intent::Read, &name).await?;
        let request = LogRequest { tail: tail.0, since: since.0, timestamps: timestamps.0.0 };
        let logs = self.0.engine.logs(&grant, &request, self.0.engine.deadline()).await?;
        let truncated = logs.truncated.then_some(true);
        Ok(ContainerLogsResponse::of(ContainerLogs { logs: logs.text, truncated }))
    }
}

impl Containers {
    async fn item(&self, grant: ContainerGrant, deadline: Deadline) -> Result<ContainerItem> {
        let status = self.status(&grant, deadline).await?;
        let row = grant.row();
        Ok(ContainerItem {
            id: grant.engine_id().short().into(),
            name: row.name.to_string(),
            status: status.word,
            image: row.image.clone(),
            created: timestamp_ms(row.created_ms),
        })
    }

    /// What Podman says, or what is left to say where it says nothing about this one.
    async fn status(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Status> {
        let word = |word: &str| Status { word: word.into(), exit_code: None, started_at: None, finished_at: None };
        if grant.row().state == State::Removing {
            return Ok(word("removing"));
        }
        match self.0.engine.status(grant, deadline).await {
            Err(error) if error.kind == Kind::NotFound => Ok(word("unknown")),
            other => other,
        }
    }
}

fn default_stop_seconds() -> u32 {
    10
}

fn default_tail() -> u32 {
    100
}
