//! Removing a container: mark, remove, forget.

use std::collections::BTreeMap;

use super::{Lifecycle, ROUND, within};
use crate::domain::{Error, EventKind, Kind, Result};
use crate::engine::Deadline;
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
        // What is in use here says so to other gateways, and to the next start after a crash.
        self.store.touch_containers(&self.used.rows()).await?;
        let mut by_tenant: BTreeMap<String, Vec<Container>> = BTreeMap::new();
        for row in self.store.expired_containers().await? {
            by_tenant.entry(row.tenant.id.clone()).or_default().push(row);
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
        let (tenant, name) = (row.tenant.slug.as_str(), row.name.as_str());
        match within(ROUND, self.expire_steps(system, row)).await {
            Ok(true) => tracing::info!(tenant, container.name = name, "a container expired"),
            Ok(false) => {}
            Err(error) => tracing::warn!(tenant, container.name = name, ?error, "an expired container stays"),
        }
    }

    /// Whether it went: what was used or renewed since the sweep began stays, and what somebody works on waits for the
    /// next sweep.
    async fn expire_steps(&self, system: &SystemGrant, row: &Container) -> Result<bool> {
        let (Some(engine_id), Some(_claim)) = (row.engine_id.clone(), self.claim(&row.id)) else { return Ok(false) };
        let is_due = async || Ok::<_, Error>(!self.used.has(&row.id) && self.store.is_expired(row).await?);
        if !is_due().await? {
            return Ok(false);
        }
        let deed = Deed::of_the_system("expireContainer", Object::from(row), None);
        let removing = async |system: &Audited<SystemGrant>| {
            if !self.store.mark_expired(row).await? {
                return Err(Error::new(Kind::Conflict, "it was used meanwhile"));
            }
            self.store.note_event(row, EventKind::Expired).await?;
            self.remove_marked(&system.over_container(row, engine_id), self.engine.deadline()).await
        };
        self.upkeep(system, &row.id, deed, removing).await.map(|()| true)
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
        self.remove_marked(grant, deadline).await
    }

    /// What follows once it is marked, by whoever has claimed it.
    async fn remove_marked(&self, grant: &Audited<ContainerGrant>, deadline: Deadline) -> Result<()> {
        let row = grant.row();
        self.fail_point.reached("remove.marked");
        if let Err(error) = self.engine.remove(grant, deadline).await {
            self.unsettled.notify_one();
            return Err(error);
        }
        self.fail_point.reached("remove.removed");
        self.store.forget_container(row).await?;
        self.forget_what_is_known(&row.id);
        Ok(())
    }
}
