//! Filling the agent's volume, through a container that is never started.
//!
//! What is there is read back before anything relies on it: whoever died in between has left half of it.

use podman_api::opts::VolumeCreateOpts;
use serde::Deserialize;
use serde_json::json;

use super::agent::{DIRECTORY, INSTALLER, Installer, Program, Volume};
use super::files::{Stat, first_file};
use super::spec::{AGENT, CONTAINER, INSTALLATION};
use super::{Deadline, Engine, failure};
use crate::domain::{EngineId, Error, Kind, Result, Tenant};

/// `localhost/podgate-agent:empty`, in a URL.
const IMAGE: &str = "localhost%2Fpodgate-agent%3Aempty";

/// The program's name in the volume.
const NAME: &str = "podgate-agent";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Made {
    id: String,
}

/// Putting the program into its volume.
pub(super) struct Installation {
    pub(super) engine: Engine,
    pub(super) program: Program,
    pub(super) volume: String,
    pub(super) tenant: Tenant,
    pub(super) installer: Installer,
}

impl Installation {
    /// Sees to it that the volume is there and whole.
    pub(super) async fn prepare(&self) -> Result<()> {
        let mut installed = self.program.installed.lock().await;
        let deadline = self.engine.deadline();
        let found = deadline.bound(self.look()).await?;
        // Somebody may have taken it away; Podman would make an empty one in its place.
        let ours = found.is_some_and(|volume| volume.is_labelled(&self.installer.installation));
        if !(*installed && ours) {
            *installed = false;
            self.install(ours, deadline).await?;
            *installed = true;
        }
        Ok(())
    }

    /// The volume, if it is there.
    async fn look(&self) -> Result<Option<Volume>> {
        let answer = self.engine.wire.get(&format!("/v4.0.0/libpod/volumes/{}/json", self.volume)).await?;
        if answer.status == hyper::StatusCode::NOT_FOUND { Ok(None) } else { answer.checked()?.json().map(Some) }
    }

    async fn install(&self, is_there: bool, deadline: Deadline) -> Result<()> {
        let _heavy = self.engine.heavy.enter(&self.tenant, deadline).await?;
        if !is_there {
            deadline.bound(self.make_volume()).await?;
        }
        deadline.bound(self.make_image()).await?;
        let way_in = deadline.bound(self.make_way_in()).await?;
        let filled = deadline.bound(self.fill(&way_in)).await;
        // What cannot be removed now is an orphan with our label, and goes with the others.
        if let Err(error) = self.engine.deadline().bound(self.engine.delete(&way_in)).await {
            tracing::warn!(?error, container.id = way_in.short(), "a container that never ran is left");
        }
        filled?;
        tracing::info!(volume = self.volume, "the agent is installed");
        Ok(())
    }

    async fn make_volume(&self) -> Result<()> {
        // One that Podman made has no label.
        self.engine.remove_unused(&self.volume).await?;
        let labels = [(INSTALLATION, self.installer.installation.as_str()), (AGENT, &*self.program.digest)];
        let opts = VolumeCreateOpts::builder().name(&self.volume).driver("local").labels(labels).build();
        match self.engine.podman.volumes().create(&opts).await.map_err(failure::of_client) {
            Err(error) if error.kind != Kind::Exists => Err(error),
            _ => Ok(()),
        }
    }

    /// An image with nothing in it, which stays. A tenant's would do as well, were it not that Podman reads files of an
    /// image when it prepares a start, and that a FIFO in the place of one holds it up for ever.
    async fn make_image(&self) -> Result<()> {
        let path = format!("/v4.0.0/libpod/images/{IMAGE}/exists");
        if self.engine.wire.get(&path).await?.status != hyper::StatusCode::NOT_FOUND {
            return Ok(());
        }
        let path = format!("/v4.0.0/libpod/images/import?reference={IMAGE}");
        let empty = tar::Builder::new(Vec::new()).into_inner().map_err(Error::internal)?;
        self.engine.wire.post_tar(&path, empty.into()).await?.checked().map(drop)
    }

    /// A container that is never started, through which the volume can be written.
    async fn make_way_in(&self) -> Result<EngineId> {
        let Installer { installation, gateway } = &self.installer;
        let body = json!({
            "image": "localhost/podgate-agent:empty",
            "name": format!("podgate-agent-{}", (self.engine.world.new_id)()),
            "labels": {INSTALLATION: installation, CONTAINER: format!("{INSTALLER}{gateway}")},
            "entrypoint": ["/.podgate/nothing"],
            "command": [],
            "env": {},
            "work_dir": "/",
            "image_volume_mode": "ignore",
            "netns": {"nsmode": "none"},
            "base_hosts_file": "none",
            "cap_drop": ["ALL"],
            "no_new_privileges": true,
            // Nothing of the image's own directory of that name gets into the volume.
            "volumes": [{"Name": self.volume, "Dest": DIRECTORY, "Options": ["nocopy", "nosuid", "nodev"]}],
        });
        let answer = self.engine.wire.post_json("/v4.0.0/libpod/containers/create", &body).await?.checked()?;
        EngineId::parse(&answer.json::<Made>()?.id).map_err(failure::unreadable)
    }

    /// Sees to it that the volume holds the program, and nothing that a tenant has a hand in.
    async fn fill(&self, way_in: &EngineId) -> Result<()> {
        if self.is_whole(way_in).await? {
            return Ok(());
        }
        self.put_program(way_in).await?;
        // Podman 5 has given the directory its mode by now, 4.3 does so when it prepares a start: this one fails at its
        // last step, there being no such program. Putting it there again undoes what that did.
        if self.needs_chown().await? {
            self.engine.wire.post(&format!("/v4.0.0/libpod/containers/{way_in}/init")).await?;
        }
        self.put_program(way_in).await?;
        if self.is_whole(way_in).await? {
            return Ok(());
        }
        Err(failure::unreadable("the agent's volume does not hold what was put there"))
    }

    /// Whether everybody can run the program, it is the right one, and Podman changes nothing any more.
    async fn is_whole(&self, way_in: &EngineId) -> Result<bool> {
        Ok(self.holds_program(way_in).await? && self.is_open(way_in).await? && !self.needs_chown().await?)
    }

    /// Whether everybody may enter the directory.
    async fn is_open(&self, way_in: &EngineId) -> Result<bool> {
        let path = format!("/v1.40/containers/{way_in}/archive?path=%2F.podgate");
        let answer = self.engine.wire.head(&path).await?.checked()?;
        Ok(Stat::of(&answer.headers)?.mode & 0o777 == 0o755)
    }

    async fn put_program(&self, way_in: &EngineId) -> Result<()> {
        let path = format!("/v1.40/containers/{way_in}/archive?path=%2F.podgate&noOverwriteDirNonDir=true");
        self.engine.wire.put_tar(&path, archive(&self.program.bytes)?.into()).await?.checked().map(drop)
    }

    async fn needs_chown(&self) -> Result<bool> {
        Ok(self.look().await?.is_some_and(|volume| volume.needs_chown))
    }

    /// Whether exactly the program is there.
    async fn holds_program(&self, way_in: &EngineId) -> Result<bool> {
        let path = format!("/v1.40/containers/{way_in}/archive?path=%2F.podgate%2F{NAME}");
        let answer = self.engine.wire.get(&path).await?;
        if answer.status == hyper::StatusCode::NOT_FOUND {
            return Ok(false);
        }
        Ok(first_file(answer.checked()?.body())?.is_some_and(|bytes| bytes == self.program.bytes))
    }
}

/// The directory itself, for everybody to enter, and the program, for everybody to run.
fn archive(program: &[u8]) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::with_capacity(program.len() + 4096));
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o755);
    header.set_size(0);
    archive.append_data(&mut header, "./", &[][..]).map_err(Error::internal)?;
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o555);
    header.set_size(program.len() as u64);
    archive.append_data(&mut header, NAME, program).map_err(Error::internal)?;
    archive.into_inner().map_err(Error::internal)
}
