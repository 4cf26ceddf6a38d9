//! The main process's streams, with the container in use meanwhile.

use tokio::sync::oneshot;

use super::Lifecycle;
use crate::domain::Result;
use crate::engine::Attached;
use crate::policy::grant::{Audited, ContainerGrant};

/// Keeps a container in use, until this is dropped.
pub struct Use(Option<oneshot::Sender<()>>);

impl Drop for Use {
    fn drop(&mut self) {
        self.0.take();
    }
}

impl Lifecycle {
    /// Connects to the main process. The container is in use as long as the second is kept.
    pub async fn attach(&self, grant: &Audited<ContainerGrant>) -> Result<(Attached, Use)> {
        let attached = self.engine.attach(grant, self.engine.deadline()).await?;
        Ok((attached, self.use_until_dropped(grant)))
    }

    /// Notes that the container is in use, and its end as a use as well, whoever drops it and when.
    pub fn use_until_dropped(&self, grant: &ContainerGrant) -> Use {
        let row = grant.row().clone();
        if row.idle_seconds.is_none() {
            return Use(None);
        }
        let (held, over) = oneshot::channel::<()>();
        let (this, in_use) = (self.clone(), self.in_use(&row));
        self.tasks.spawn(async move {
            let _ = over.await;
            if let Err(error) = this.store.touch_container(&row).await {
                tracing::warn!(container.row = row.id, ?error, "the end of a use was not noted");
            }
            drop(in_use);
        });
        Use(Some(held))
    }
}
