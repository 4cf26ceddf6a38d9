//! A container's root, kept mounted for several looks into it: else Podman mounts and unmounts it for each.

use super::{Deadline, Engine};
use crate::domain::Result;
use crate::policy::grant::ContainerGrant;

/// Keeps it mounted until this is dropped.
pub(super) struct Mounted {
    engine: Engine,
    unmount: String,
}

impl Engine {
    pub(super) async fn mounted(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Mounted> {
        let path = |verb| format!("/v4.0.0/libpod/containers/{}/{verb}", grant.engine_id());
        // Before the call: to unmount what is not mounted does no harm.
        let mounted = Mounted { engine: self.clone(), unmount: path("unmount") };
        let mount = path("mount");
        self.on(grant, deadline, async { self.wire.post(&mount).await?.checked() }).await?;
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
