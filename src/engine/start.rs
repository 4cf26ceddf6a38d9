//! Starting containers, once it is known that nothing goes wrong by it.

use std::time::Duration;

use super::{Deadline, Engine, Image, failure};
use crate::domain::{EngineId, Mount, Result};
use crate::policy::grant::{Audited, ContainerGrant};

impl Engine {
    /// Starts it; fine if it runs already. `Conflict` where Podman would have to read too much for that.
    pub async fn start(&self, grant: &Audited<ContainerGrant>, deadline: Deadline) -> Result<()> {
        let _heavy = self.heavy.enter(grant.tenant(), deadline).await?;
        // Each look would mount it and unmount it again.
        let _mounted = self.mounted(grant, deadline).await?;
        self.check_start(grant, deadline).await?;
        self.start_now(grant, deadline).await
    }

    /// Starts one that was just made of that image, with these mounts, and that nobody had in hand yet.
    pub async fn start_new(
        &self,
        grant: &Audited<ContainerGrant>,
        image: &Image,
        mounts: &[Mount],
        deadline: Deadline,
    ) -> Result<()> {
        let _heavy = self.heavy.enter(grant.tenant(), deadline).await?;
        let targets = mounts.iter().map(|mount| mount.target.as_str());
        // Without control characters, targets cannot run into each other.
        let made_of: Vec<&str> = std::iter::once(image.id.as_str()).chain(targets).collect();
        let made_of = made_of.join("\n");
        if !self.good_images.has(&made_of) {
            let _mounted = self.mounted(grant, deadline).await?;
            if self.check_start(grant, deadline).await? {
                self.good_images.learn(&made_of);
            }
        }
        self.start_now(grant, deadline).await
    }

    async fn start_now(&self, grant: &Audited<ContainerGrant>, deadline: Deadline) -> Result<()> {
        let id = grant.engine_id();
        let start = || async {
            if grant.row().ends_stdin { self.start_without_input(id).await } else { self.start_as_it_is(id).await }
        };
        self.change(grant, deadline, self.patiently(start)).await
    }

    pub(super) async fn start_as_it_is(&self, id: &EngineId) -> Result<()> {
        let container = self.podman.containers().get(id.as_str());
        let started = async {
            match container.start(None).await {
                Err(podman_api::Error::Fault { code, .. }) if code.as_u16() == 304 => Ok(()),
                other => other.map_err(failure::of_client),
            }
        };
        self.timed("POST containers/{id}/start", started).await
    }

    /// Stops it as `stop` does, if it runs, and starts it.
    pub async fn restart(&self, grant: &Audited<ContainerGrant>, patience: Duration, deadline: Deadline) -> Result<()> {
        self.stop(grant, patience, deadline).await?;
        self.start(grant, deadline.extended(patience)).await
    }
}
