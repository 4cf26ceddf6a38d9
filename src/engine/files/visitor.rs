//! A container of ours that has what a tenant's has on the disk as a directory, and the agent in it.
//!
//! So files can be worked on whether the container runs or not, and however full it is of processes. Podman mounts the
//! container's root (and keeps it mounted as long as somebody asked for that); the visitor, in the same user namespace,
//! binds it and the container's mounts below `/tree`. It has no network, few capabilities, and ends with its connection.
//!
//! A link where a volume belongs, made by whoever was root in the container, may lead the mount to the visitor's own root,
//! and its program is the tenant's then. So it may do no more than its tenant, a processor's worth, and not for long: the
//! gateway that sent it sees it off, and if that is dead the others do, or its successor.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use super::mounts::Mounts;
use super::talk::Talk;
use crate::domain::{Error, Kind, Result};
use crate::engine::hijack::Hijacked;
use crate::engine::mounted::Mounted;
use crate::engine::spec::{CONTAINER, CPU_PERIOD, INSTALLATION, PROCESSES_PER_USER, VISITOR, visitor_name};
use crate::engine::{Deadline, Engine, Labelled};
use crate::policy::grant::ContainerGrant;

/// Where the visitor has what it came for.
pub(super) const TREE: &str = "/tree";

/// Bytes of memory: enough for the agent, and for what of the files the kernel keeps in memory on its way to the disk.
const MEMORY: i64 = 256 * 1024 * 1024;

/// Its process, and what Podman starts beside it.
const PROCESSES: i64 = 16;

/// What it takes to act as root on files, and to enter the tree.
const CAPABILITIES: &[&str] = &["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SYS_CHROOT"];

/// How often it is looked whether a visitor is gone, and after how many looks it is removed by force.
const LOOK_EVERY: Duration = Duration::from_millis(50);
const FORCE_EVERY: u32 = 20;

/// Visitors that somebody here waits for or sees off, by their names.
#[derive(Clone, Default)]
pub(in crate::engine) struct Visits(Arc<Mutex<HashSet<String>>>);

impl Visits {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What has to be taken back: the visitor, and then what Podman mounted for it.
pub(super) struct Stay {
    engine: Engine,
    /// Kept until the visitor is gone.
    mounted: Option<Mounted>,
    /// Podman's name of the visitor, once it may exist.
    name: Option<String>,
}

impl Stay {
    /// Makes a visitor to the container's files as the container would see them, and waits for its agent.
    pub(super) async fn begin(
        engine: &Engine,
        grant: &ContainerGrant,
        changes: bool,
        deadline: Deadline,
    ) -> Result<(Talk, Self)> {
        engine.answering(grant, deadline).await?;
        let _heavy = engine.heavy.enter(grant.tenant(), deadline).await?;
        let mounted = engine.mounted(grant, deadline).await?;
        let mounts = engine.inspect_disk(grant, deadline).await?.as_seen_inside(&mounted.root, changes);
        Self::in_lane(engine, grant, Some(mounted), &mounts, deadline).await
    }

    /// Makes one that has nothing but what is mounted for it.
    pub(super) async fn with(
        engine: &Engine,
        grant: &ContainerGrant,
        mounts: &Mounts,
        deadline: Deadline,
    ) -> Result<(Talk, Self)> {
        let _heavy = engine.heavy.enter(grant.tenant(), deadline).await?;
        Self::in_lane(engine, grant, None, mounts, deadline).await
    }

    /// The same for whoever has the tenant's lane already, and maybe a root that has to stay mounted.
    pub(super) async fn in_lane(
        engine: &Engine,
        grant: &ContainerGrant,
        mounted: Option<Mounted>,
        mounts: &Mounts,
        deadline: Deadline,
    ) -> Result<(Talk, Self)> {
        let mut stay = Self { engine: engine.clone(), mounted, name: None };
        let talk = stay.arrive(grant, mounts, deadline).await?;
        Ok((talk, stay))
    }

    async fn arrive(&mut self, grant: &ContainerGrant, mounts: &Mounts, deadline: Deadline) -> Result<Talk> {
        let engine = self.engine.clone();
        let image = engine.agent_image(deadline).await?;
        let name = visitor_name(&(engine.world.new_id)());
        let body = body(&engine, grant, &image, &name, mounts);
        engine.visits.lock().insert(name.clone());
        let path = |verb| format!("/v4.0.0/libpod/containers/{name}/{verb}");
        let [attach, start] = ["attach?stream=true&stdin=true&stdout=true&stderr=true", "start"].map(path);
        self.name = Some(name);
        let arrive = async {
            engine.wire.post_json("/v4.0.0/libpod/containers/create", &body).await?.checked()?;
            // Without a body, which Podman would take for input.
            let connection = Hijacked::ending_with_us(engine.wire.hijack(&attach, Bytes::new()).await?);
            engine.wire.post(&start).await?.checked()?;
            Talk::begin(connection, engine.patience()).await
        };
        deadline.bound(arrive).await.map_err(not_arrived)
    }
}

/// What went wrong here says nothing of what was asked for.
fn not_arrived(error: Error) -> Error {
    match error.kind {
        Kind::EngineTimeout | Kind::EngineDown => error,
        _ => error.said(Kind::Engine, "the container's files cannot be reached; see the log under this request id"),
    }
}

impl Drop for Stay {
    fn drop(&mut self) {
        let (engine, mounted, name) = (self.engine.clone(), self.mounted.take(), self.name.take());
        let leave = async move {
            if let Some(name) = name {
                if let Err(error) = engine.deadline().bound(engine.see_off(&name)).await {
                    tracing::warn!(
                        container.name = name,
                        ?error,
                        "a visitor could not be removed; it is looked for later"
                    );
                }
                engine.visits.lock().remove(&name);
            }
            // After the visitor, which it was mounted for.
            drop(mounted);
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(leave);
        }
    }
}

/// What a visitor is made of.
fn body(engine: &Engine, grant: &ContainerGrant, image: &str, name: &str, mounts: &Mounts) -> Value {
    let mut body = json!({
        "image": image,
        "name": name,
        "labels": {
            (INSTALLATION): &*engine.installation,
            (CONTAINER): grant.row().id,
            (VISITOR): format!("{}.{}", engine.gateway, grant.tenant().id),
        },
        "entrypoint": ["/podgate-agent"],
        "command": ["files", TREE],
        "user": "0:0",
        "work_dir": "/",
        "stdin": true,
        // Should we be gone: it ends with its connection, and goes with its end.
        "remove": true,
        "image_volume_mode": "ignore",
        "volatile": true,
        "base_hosts_file": "none",
        "netns": {"nsmode": "none"},
        "no_new_privileges": true,
        "cap_drop": ["ALL"],
        "cap_add": CAPABILITIES,
        "seccomp_profile_path": &*engine.seccomp_path,
        "r_limits": [
            {"type": "nofile", "soft": 1024, "hard": 1024},
            {"type": "nproc", "soft": PROCESSES_PER_USER, "hard": PROCESSES_PER_USER},
        ],
        "log_configuration": {"driver": "none"},
        "mounts": mounts.binds,
        "volumes": mounts.volumes,
        "resource_limits": {},
    });
    if let Some(group) = engine.cgroup_of(grant.tenant()) {
        body["cgroup_parent"] = json!(group);
    }
    let able = engine.host.get();
    if able.memory {
        body["resource_limits"]["memory"] = json!({"limit": MEMORY, "swap": MEMORY});
    }
    if able.pids {
        body["resource_limits"]["pids"] = json!({"limit": PROCESSES});
    }
    if able.cpu {
        // One processor.
        body["resource_limits"]["cpu"] = json!({"period": CPU_PERIOD, "quota": CPU_PERIOD});
    }
    if let Some((users, groups)) = &mounts.ids {
        body["userns"] = json!({"nsmode": "private"});
        body["idmappings"] = json!({"UIDMap": users, "GIDMap": groups});
    }
    body
}

impl Engine {
    /// Whether this gateway waits for this visitor, or sees it off.
    pub fn is_visiting(&self, visitor: &Labelled) -> bool {
        self.visits.lock().contains(&visitor.name)
    }

    /// Waits until a visitor is gone. Its connection is cut, so it ends by itself, and Podman removes it; one that does
    /// not, or never began to, is removed.
    async fn see_off(&self, name: &str) -> Result<()> {
        let path = format!("/v4.0.0/libpod/containers/{name}");
        let mut tries = 0;
        loop {
            if self.wire.get(&format!("{path}/exists")).await?.status == hyper::StatusCode::NOT_FOUND {
                return Ok(());
            }
            tries += 1;
            if tries % FORCE_EVERY == 0 {
                // Podman may be at it itself, and say so in many ways.
                let removed = self.wire.delete(&format!("{path}?force=true&timeout=0&v=true")).await?.checked();
                if let Err(error) = removed {
                    tracing::debug!(?error, "a visitor is not removed yet");
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The image that visitors are made of, with nothing in it but the agent. Made where the host lacks it.
    async fn agent_image(&self, deadline: Deadline) -> Result<String> {
        let program = self.agent.as_ref().ok_or_else(|| {
            Error::new(Kind::EngineDown, "this gateway has no agent for files; ask its administrator")
        })?;
        let tag = &program.digest[..16];
        let reference = format!("localhost%2Fpodgate-agent%3A{tag}");
        let known = async {
            if self.wire.get(&format!("/v4.0.0/libpod/images/{reference}/exists")).await?.status.is_success() {
                return Ok(());
            }
            let path = format!("/v4.0.0/libpod/images/import?reference={reference}");
            self.wire.post_tar(&path, archive(&program.bytes)?).await?.checked().map(drop)
        };
        deadline.bound(known).await?;
        Ok(format!("localhost/podgate-agent:{tag}"))
    }
}

/// An image with nothing in it but the program.
fn archive(program: &[u8]) -> Result<Bytes> {
    let mut archive = tar::Builder::new(Vec::with_capacity(program.len() + 2048));
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o755);
    archive.append_data(&mut header, "podgate-agent", program).map_err(Error::internal)?;
    archive.into_inner().map(Bytes::from).map_err(Error::internal)
}
