//! Deleting a tenant: everything it owns, then itself. Resumes after a crash, for each step asks what is left.

use super::Lifecycle;
use crate::domain::{Result, Tenant};
use crate::policy::grant::SystemGrant;

impl Lifecycle {
    /// One round over the tenants that are marked for deletion. What cannot go now goes in a later round.
    pub async fn delete_marked_tenants(&self, system: &SystemGrant) -> Result<()> {
        for tenant in self.store.deleting_tenants().await? {
            if let Err(error) = self.delete_tenant(system, &tenant).await {
                tracing::warn!(tenant = %tenant.slug, ?error, "a tenant could not be deleted yet");
            }
        }
        Ok(())
    }

    async fn delete_tenant(&self, system: &SystemGrant, tenant: &Tenant) -> Result<()> {
        for row in self.store.all_containers(tenant).await? {
            // What somebody else is working on is looked at again in the next round.
            let Some(_claim) = self.claim(&row.id) else { return Ok(()) };
            // Somebody may have removed it since the list was read; marking a row that is gone changes nothing.
            self.store.mark_removing(&row).await?;
            self.fail_point.reached("delete.marked");
            self.take_back(system, &row).await?;
        }
        for volume in self.store.all_volumes(tenant).await? {
            if !self.settle_volume(system, &volume, true).await? {
                return Ok(());
            }
        }
        self.fail_point.reached("delete.emptied");
        self.engine.remove_networks(system, tenant, self.engine.deadline()).await?;
        self.fail_point.reached("delete.disconnected");
        self.store.forget_tenant(tenant).await?;
        tracing::info!(tenant = %tenant.slug, "a tenant was deleted");
        Ok(())
    }
}
