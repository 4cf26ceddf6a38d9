//! What the operations on containers take and answer.

use std::collections::BTreeMap;

use poem_openapi::Object;
use poem_openapi::types::Example;

use crate::api::model::{Command, answer};

/// What to create.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct CreateContainerRequest {
    /// A short name that the tenant's aliases know, or a full reference; either must be on the tenant's list.
    pub(super) image: String,
    /// Name within the tenant: letters, digits, `_`, `.` and `-`, at most 63.
    pub(super) name: String,
    /// Instead of the image's CMD. An array runs as it is. A string without shell metacharacters is split into words
    /// and run directly; one with them runs under `/bin/sh -c`.
    pub(super) command: Option<Command>,
    /// Instead of the image's ENTRYPOINT.
    pub(super) entrypoint: Option<Vec<String>>,
    /// Environment variables, added to the image's.
    pub(super) environment: Option<BTreeMap<String, String>>,
    /// TCP ports to publish, host port to container port. Host ports are within the profile's range, at least 1024;
    /// host port 0 leaves the choice to the gateway, and the answer tells it.
    pub(super) ports: Option<BTreeMap<String, String>>,
    /// What to mount, source to path: the name of a volume of the tenant, or of a share that was declared for it. With `:ro`
    /// behind the path it is only to be read; `:rw`, and nothing, leave it to the share's declaration. A new volume is
    /// empty, whatever the image has at that path.
    pub(super) volumes: Option<BTreeMap<String, String>>,
    /// User the main process runs as, name or number, optionally with `:group`.
    pub(super) user: Option<String>,
    /// Working directory of the main process.
    pub(super) workdir: Option<String>,
    /// Labels of your own: at most 64, of 16 KiB in all. They are answered as they are, and lists may be asked for them.
    pub(super) labels: Option<BTreeMap<String, String>>,
    /// Limits of its own, at most the profile's.
    pub(super) limits: Option<ContainerLimitsRequest>,
    /// Seconds after which it goes by itself, running or not. The profile's if not given.
    pub(super) expires_in: Option<i64>,
    /// What it may have; `default` if not given. Another one must have been given to the tenant.
    pub(super) profile: Option<String>,
    /// How far to go to get the image: `never` takes what the host has, `missing` (the default) pulls what it has not,
    /// `always` pulls.
    pub(super) pull: Option<String>,
    /// Whether its standard input is open, for `attach`. Default false.
    pub(super) stdin: Option<bool>,
    /// Whether to run it at once. Default true.
    pub(super) start: Option<bool>,
}

/// What a container was promised.
#[derive(Object)]
pub(super) struct ContainerLimits {
    /// Bytes of memory, swap included.
    pub(super) memory_bytes: i64,
    /// CPUs.
    pub(super) cpus: f64,
    /// Processes.
    pub(super) pids: i64,
}

/// Limits of a container; the profile's where a field is not given.
#[derive(Object, Default)]
#[oai(deny_unknown_fields)]
pub(super) struct ContainerLimitsRequest {
    /// Bytes of memory, swap included.
    pub(super) memory_bytes: Option<i64>,
    /// CPUs, such as 0.5.
    pub(super) cpus: Option<f64>,
    /// Processes.
    pub(super) pids: Option<i64>,
}

impl Example for CreateContainerRequest {
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
            limits: None,
            expires_in: None,
            profile: None,
            pull: None,
            stdin: None,
            start: None,
        }
    }
}

/// A container in short.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ContainerSummary {
    /// First 12 digits of Podman's id.
    pub(super) id: String,
    /// Name within the tenant.
    pub(super) name: String,
    /// Podman's word: created, running, exited, paused, …; `removing`; or `unknown` where Podman does not answer for it.
    pub(super) status: String,
    /// Published ports, host port to container port, where there are any.
    pub(super) ports: Option<BTreeMap<String, String>>,
    /// When it goes by itself, RFC 3339.
    pub(super) expires: Option<String>,
}

/// A container of a list.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ContainerItem {
    /// First 12 digits of Podman's id.
    pub(super) id: String,
    /// Name within the tenant.
    pub(super) name: String,
    /// Podman's word: created, running, exited, paused, …; `removing`; or `unknown` where Podman does not answer for it.
    pub(super) status: String,
    /// The image's full reference.
    pub(super) image: String,
    /// When it was created, RFC 3339.
    pub(super) created: String,
    /// Labels that it was made with, if it was made with any.
    pub(super) labels: Option<BTreeMap<String, String>>,
}

/// Everything about one container.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ContainerDetail {
    /// First 12 digits of Podman's id.
    pub(super) id: String,
    /// Name within the tenant.
    pub(super) name: String,
    /// Podman's word: created, running, exited, paused, …; `removing`; or `unknown` where Podman does not answer for it.
    pub(super) status: String,
    /// The image's full reference.
    pub(super) image: String,
    /// When it was created, RFC 3339.
    pub(super) created: String,
    /// Labels that it was made with.
    pub(super) labels: BTreeMap<String, String>,
    /// Published ports, host port to container port.
    pub(super) ports: BTreeMap<String, String>,
    /// The profile it was made under.
    pub(super) profile: String,
    /// What it was promised.
    pub(super) limits: ContainerLimits,
    /// When it goes by itself, RFC 3339.
    pub(super) expires: Option<String>,
    /// When it goes because nobody used it, RFC 3339, unless somebody does; where its profile has it go so.
    pub(super) idle_until: Option<String>,
    /// When it was last started, RFC 3339.
    pub(super) started_at: Option<String>,
    /// When its main process ended, RFC 3339.
    pub(super) finished_at: Option<String>,
    /// Exit code of its main process, once it ended.
    pub(super) exit_code: Option<i64>,
}

/// A container's new state.
#[derive(Object)]
pub(super) struct ContainerState {
    /// Name within the tenant.
    pub(super) name: String,
    /// What was done: started, stopped, restarted, paused, unpaused or signalled.
    pub(super) status: String,
}

/// How much longer.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct RenewContainerRequest {
    /// Seconds from now. The profile's default if not given.
    pub(super) expires_in: Option<i64>,
}

impl Example for RenewContainerRequest {
    fn example() -> Self {
        Self { expires_in: Some(3600) }
    }
}

/// A container's new end.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ContainerRenewed {
    /// Name within the tenant.
    pub(super) name: String,
    /// When it goes by itself, RFC 3339; absent: never.
    pub(super) expires: Option<String>,
}

/// A container that is gone.
#[derive(Object)]
pub(super) struct ContainerRemoved {
    /// Name it had within the tenant.
    pub(super) name: String,
    /// Always true.
    pub(super) removed: bool,
}

answer! {
    /// The new container.
    pub(super) ContainerCreatedResponse { container: ContainerSummary }
    example ContainerSummary {
        id: "3f4e8a1b2c6d".into(),
        name: "web".into(),
        status: "running".into(),
        ports: None,
        expires: None,
    }
}
answer! {
    /// One container.
    pub(super) ContainerResponse { container: ContainerDetail }
    example ContainerDetail {
        id: "3f4e8a1b2c6d".into(),
        name: "web".into(),
        status: "exited".into(),
        image: "docker.io/library/alpine:latest".into(),
        created: "2025-01-19T15:47:19.123000Z".into(),
        labels: [("course".to_owned(), "intro".to_owned())].into(),
        ports: [("8080".to_owned(), "80".to_owned())].into(),
        profile: "default".into(),
        limits: ContainerLimits { memory_bytes: 536_870_912, cpus: 1.0, pids: 256 },
        expires: None,
        idle_until: None,
        started_at: Some("2025-01-19T15:47:19.214Z".into()),
        finished_at: Some("2025-01-19T15:52:19.301Z".into()),
        exit_code: Some(0),
    }
}
/// Containers of the tenant.
#[derive(Object)]
#[oai(skip_serializing_if_is_none, example)]
pub(super) struct ContainerListResponse {
    /// Always true.
    pub(super) success: bool,
    /// Oldest first.
    pub(super) containers: Vec<ContainerItem>,
    /// There are more: ask with this `cursor`.
    pub(super) next_cursor: Option<String>,
}

impl Example for ContainerListResponse {
    fn example() -> Self {
        let item = ContainerItem {
            id: "3f4e8a1b2c6d".into(),
            name: "web".into(),
            status: "running".into(),
            image: "docker.io/library/alpine:latest".into(),
            created: "2025-01-19T15:47:19.123000Z".into(),
            labels: None,
        };
        Self { success: true, containers: vec![item], next_cursor: None }
    }
}

answer! {
    /// The container's new state.
    pub(super) ContainerStateResponse { container: ContainerState }
    example ContainerState { name: "web".into(), status: "started".into() }
}
answer! {
    /// The container's new end.
    pub(super) ContainerRenewedResponse { container: ContainerRenewed }
    example ContainerRenewed { name: "web".into(), expires: Some("2025-01-19T16:47:19.123000Z".into()) }
}
answer! {
    /// The container is gone.
    pub(super) ContainerRemovedResponse { container: ContainerRemoved }
    example ContainerRemoved { name: "web".into(), removed: true }
}
