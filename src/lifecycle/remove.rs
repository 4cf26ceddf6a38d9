//! Removing a container: mark, remove, forget.

use super::Lifecycle;
use crate::domain::{Error, Kind, Result};
use crate::policy::grant::{ContainerGrant, SystemGrant};

impl Lifecycle {
    /// Takes the container away. Without `force`, `Conflict` if it runs.
    pub async fn remove(&self, grant: ContainerGrant, force: bool) -> Result<()> {
        let this = self.clone();
        self.to_the_end(async move { this.remove_steps(&grant, force).await }).await
    }

    /// Takes away every container whose time has come. What fails stays marked for the reconciler.
    pub async fn expire(&self, system: &SystemGrant) -> Result<usize> {
        let expired = self.store.expired_containers().await?;
        let mut gone = 0;
        for row in expired {
            let Some(engine_id) = row.engine_id.clone() else { continue };
            let (tenant, name) = (row.tenant.slug.to_string(), row.name.to_string());
            match self.remove(system.over(&row, engine_id), true).await {
                Ok(()) => {
                    gone += 1;
                    tracing::info!(tenant, container.name = name, "a container expired");
                }
                Err(error) => tracing::warn!(tenant, container.name = name, ?error, "an expired container stays"),
            }
        }
        Ok(gone)
    }

    async fn remove_steps(&self, grant: &ContainerGrant, force: bool) -> Result<()> {
        let deadline = self.engine.deadline();
        if !force {
            match self.engine.status(grant, deadline).await {
                Ok(status) if matches!(status.word.as_str(), "running" | "paused" | "stopping") => {
                    let message = format!("the container is {}; stop it, or remove it with force=true", status.word);
                    return Err(Error::new(Kind::Conflict, message));
                }
                Ok(_) => {}
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let row = grant.row();
        let Some(_claim) = self.claim(&row.id) else {
            return Err(Error::new(Kind::Conflict, "the container is being removed"));
        };
        self.store.mark_removing(row).await?;
        self.fail_point.reached("remove.marked");
        if let Err(error) = self.engine.remove(grant, deadline).await {
            self.unsettled.notify_one();
            return Err(error);
        }
        self.fail_point.reached("remove.removed");
        self.store.forget_container(row).await
    }
}
