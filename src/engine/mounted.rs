//! A container's root, kept mounted for several looks into it: else Podman mounts and unmounts it for each.

use super::{Deadline, Engine};
use crate::domain::Result;
use crate::policy::grant::ContainerGrant;

/// Keeps it mounted until this is dropped.
pub(super) struct Mounted {
    engine: Engine,
    unmount: String,
    /// Where on the host.
    pub(super) root: String,
}

impl Engine {
    pub(super) async fn mounted(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Mounted> {
        let path = |verb| format!("/v4.0.0/libpod/containers/{}/{verb}", grant.engine_id());
        // Before the call: to unmount what is not mounted does no harm.
        let mut mounted = Mounted { engine: self.clone(), unmount: path("unmount"), root: String::new() };
        let mount = path("mount");
        let answer = self.on(grant, deadline, async { self.wire.post(&mount).await?.checked() }).await?;
        answer.text()?.clone_into(&mut mounted.root);
        Ok(mounted)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let (engine, unmount) = (self.engine.clone(), std::mem::take(&mut self.unmount));
        let leave = async move {
            // Podman counts who asked. A container that is gone has nothing mounted.
            if let Err(error) = engine.deadline().bound(engine.wire.post(&unmount)).await {
                tracing::debug!(?error, "a container stays mounted for now");
            }
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(leave);
        }
    }
}
