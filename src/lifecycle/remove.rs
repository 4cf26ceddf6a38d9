//! Removing a container: mark, remove, forget.

use std::collections::BTreeMap;

use super::Lifecycle;
use crate::domain::{Error, EventKind, Kind, Result};
use crate::policy::grant::{Audited, ContainerGrant, SystemGrant};
use crate::store::{Container, Deed, Object};

impl Lifecycle {
    /// Takes the container away. Without `force`, `Conflict` if it runs.
    pub async fn remove(&self, grant: Audited<ContainerGrant>, force: bool) -> Result<()> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move { this.remove_steps(&grant, force).await }).await
    }

    /// Begins to take away every container whose time has come. Tenants do not wait for each other: one's container that
    /// Podman does not answer for holds up its own tenant's only. What fails stays marked for the reconciler.
    pub async fn expire(&self, system: &SystemGrant) -> Result<()> {
        let mut by_tenant: BTreeMap<String, Vec<Container>> = BTreeMap::new();
        for row in self.store.expired_containers().await? {
            let only_idle = row.expires_ms.is_none_or(|expires_ms| expires_ms > self.store.now_ms());
            if !(only_idle && self.is_in_use(&row.id)) {
                by_tenant.entry(row.tenant.id.clone()).or_default().push(row);
            }
        }
        for (tenant_id, rows) in by_tenant {
            // A tenant's sweep that still runs is not doubled.
            let Some(claim) = self.claim(&format!("expire {tenant_id}")) else { continue };
            let (this, system) = (self.clone(), system.clone());
            self.tasks.spawn(async move {
                for row in rows {
                    this.expire_one(&system, &row).await;
                }
                drop(claim);
            });
        }
        Ok(())
    }

    async fn expire_one(&self, system: &SystemGrant, row: &Container) {
        let Some(engine_id) = row.engine_id.clone() else { return };
        let (tenant, name) = (row.tenant.slug.as_str(), row.name.as_str());
        if let Err(error) = self.store.note_event(row, EventKind::Expired).await {
            tracing::warn!(tenant, container.name = name, ?error, "an expiry was not noted");
        }
        let deed = Deed::of_the_system("expireContainer", Object::from(row), None);
        let removing = self.upkeep(system, &row.id, deed, async |system| {
            self.remove(system.over_container(row, engine_id), true).await
        });
        match removing.await {
            Ok(()) => tracing::info!(tenant, container.name = name, "a container expired"),
            Err(error) => tracing::warn!(tenant, container.name = name, ?error, "an expired container stays"),
        }
    }

    async fn remove_steps(&self, grant: &Audited<ContainerGrant>, force: bool) -> Result<()> {
        let deadline = self.engine.deadline();
        if !force {
            match self.engine.status(grant, deadline).await {
                Ok(status) if matches!(status.word.as_str(), "running" | "paused" | "stopping") => {
                    let first = if status.word == "paused" { "unpause and stop it" } else { "stop it" };
                    let message = format!("the container is {}; {first}, or remove it with force=true", status.word);
                    return Err(Error::new(Kind::Conflict, message));
                }
                Ok(_) => {}
                Err(error) if error.kind == Kind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let row = grant.row();
        let _claim = self.claim_in_time(&row.id, deadline).await?;
        self.store.mark_removing(row).await?;
        self.fail_point.reached("remove.marked");
        if let Err(error) = self.engine.remove(grant, deadline).await {
            self.unsettled.notify_one();
            return Err(error);
        }
        self.fail_point.reached("remove.removed");
        self.store.forget_container(row).await?;
        self.announced.forget(&row.id);
        Ok(())
    }
}
