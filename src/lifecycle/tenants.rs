//! Deleting a tenant: everything it owns, then itself. Resumes after a crash, for each step asks what is left.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::{Lifecycle, ROUND, within};
use crate::domain::{Error, Kind, Result, Tenant};
use crate::policy::grant::{Audited, SystemGrant};
use crate::store::{Container, Deed, Object};

/// Of one tenant's containers or volumes, how many go at once.
const AT_ONCE: usize = 4;

/// How long a deletion rests after Podman or the store did not answer.
const AFTER_A_HANG: Duration = Duration::from_secs(10);

impl Lifecycle {
    /// Begins a round over the tenants that are marked for deletion, each by itself. What cannot go now goes later.
    pub async fn delete_marked_tenants(&self, system: &SystemGrant) -> Result<()> {
        for tenant in self.store.deleting_tenants().await? {
            let Some(claim) = self.claim(&format!("delete {}", tenant.id)) else { continue };
            let (this, system) = (self.clone(), system.clone());
            self.tasks.spawn(async move {
                if let Err(error) = within(ROUND, this.delete_tenant(&system, &tenant)).await {
                    match error.kind {
                        // The reconciler tells that once for all.
                        Kind::EngineDown => {
                            tracing::debug!(tenant = %tenant.slug, ?error, "a tenant could not be deleted yet");
                        }
                        _ => tracing::warn!(tenant = %tenant.slug, ?error, "a tenant could not be deleted yet"),
                    }
                    // Calls that hang stay in Podman: not every second another one.
                    if matches!(error.kind, Kind::EngineTimeout | Kind::StoreDown) {
                        tokio::time::sleep(AFTER_A_HANG).await;
                    }
                }
                drop(claim);
            });
        }
        Ok(())
    }

    async fn delete_tenant(&self, system: &SystemGrant, tenant: &Tenant) -> Result<()> {
        if !self.empty_tenant(system, tenant).await? {
            return Ok(());
        }
        self.fail_point.reached("delete.emptied");
        self.remove_visitors_of(system, tenant).await?;
        let deed = Deed::of_the_system("deleteTenant", Object::from(tenant), Some("everything that it owned is gone"));
        let forgetting = async |system: &Audited<SystemGrant>| {
            self.remove_networks_of(system, tenant).await;
            self.fail_point.reached("delete.disconnected");
            self.store.forget_tenant(tenant, system.entry()).await
        };
        self.upkeep(system, &tenant.id, deed, forgetting).await?;
        tracing::info!(tenant = %tenant.slug, "a tenant was deleted");
        Ok(())
    }

    /// Those that cannot go yet are nobody's, and go later (`settle_other_strays`): Podman removes none while any container
    /// on its host hangs, whosever that is.
    async fn remove_networks_of(&self, system: &Audited<SystemGrant>, tenant: &Tenant) {
        let removing = async {
            for network in self.engine.own_networks(system, &self.installation).await? {
                if network.tenant_id() == Some(&tenant.id) {
                    self.engine.remove_own_network(system, &network.name).await?;
                }
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = removing.await {
            tracing::warn!(tenant = %tenant.slug, ?error, "a network of a deleted tenant goes later");
        }
    }

    /// Takes away all that the tenant owns; false if something is left that somebody else is working on. What cannot go
    /// yet holds up nothing else: a wedged container would keep the others running.
    async fn empty_tenant(&self, system: &SystemGrant, tenant: &Tenant) -> Result<bool> {
        let containers = self.store.all_containers(tenant).await?;
        let containers = each(containers, |row| self.empty_container(system, row)).await;
        if containers.as_ref().is_err_and(is_nobodys_fault) {
            return containers;
        }
        // After the containers that have them.
        let volumes = self.store.all_volumes(tenant).await?;
        let volumes = each(volumes, |volume| async move { self.settle_volume(system, &volume, true).await }).await;
        Ok(containers? && volumes?)
    }

    async fn empty_container(&self, system: &SystemGrant, row: Container) -> Result<bool> {
        // What somebody else is working on is looked at again in the next round.
        let Some(_claim) = self.claim(&row.id) else { return Ok(false) };
        // Somebody may have removed it since the list was read; marking a row that is gone changes nothing.
        self.store.mark_removing(&row).await?;
        self.fail_point.reached("delete.marked");
        self.take_back(system, &row, "its tenant is deleted").await?;
        Ok(true)
    }
}

/// Whether all of them are done: some at once, all of them whatever becomes of one, and then fails as the first that did.
async fn each<T, Done: Future<Output = Result<bool>>>(all: Vec<T>, work: impl Fn(T) -> Done) -> Result<bool> {
    let mut outcome = Ok(true);
    let mut under_way = stream::iter(all).map(work).buffer_unordered(AT_ONCE);
    while let Some(one) = under_way.next().await {
        match one {
            Err(error) if is_nobodys_fault(&error) => return Err(error),
            one => outcome = outcome.and_then(|all| one.map(|one| all && one)),
        }
    }
    outcome
}

/// Whether nothing else would do better.
fn is_nobodys_fault(error: &Error) -> bool {
    matches!(error.kind, Kind::EngineDown | Kind::StoreDown)
}
