//! Bringing the ledger and Podman together again after a crash, of ours or of Podman.

use super::Lifecycle;
use crate::domain::{Kind, Result};
use crate::engine::Labelled;
use crate::policy::grant::SystemGrant;
use crate::store::Container;

/// What a round found and settled.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reconciled {
    /// Rows half made or half removed, now gone with their containers.
    pub rows: usize,
    /// Containers of ours without a row, now gone.
    pub orphans: usize,
    /// What could not be settled; the next round tries again.
    pub failed: usize,
}

impl Lifecycle {
    /// One round: rows that are not settled are taken back, containers that no row owns are taken away.
    ///
    /// Fails as a whole only where Podman or the store is out of reach.
    pub async fn reconcile(&self, grant: &SystemGrant) -> Result<Reconciled> {
        let mut done = Reconciled::default();
        let unsettled = self.store.unsettled_containers().await?;
        for row in unsettled {
            let Some(_claim) = self.claim(&row.id) else { continue };
            match self.take_back(grant, &row).await {
                Ok(()) => done.rows += 1,
                Err(error) if error.kind == Kind::EngineDown => return Err(error),
                Err(error) => {
                    done.failed += 1;
                    tracing::warn!(container.row = row.id, ?error, "a container could not be settled");
                }
            }
        }
        for orphan in self.engine.labelled(grant, &self.installation, self.engine.deadline()).await? {
            match self.remove_if_orphan(grant, &orphan).await {
                Ok(false) => {}
                Ok(true) => done.orphans += 1,
                Err(error) => {
                    done.failed += 1;
                    tracing::warn!(container.id = orphan.engine_id.short(), ?error, "an orphan could not be removed");
                }
            }
        }
        Ok(done)
    }

    async fn take_back(&self, grant: &SystemGrant, row: &Container) -> Result<()> {
        let deadline = self.engine.deadline();
        let engine_id = match &row.engine_id {
            Some(engine_id) => Some(engine_id.clone()),
            None => self.engine.find_made(&row.tenant, &row.id, deadline).await?,
        };
        if let Some(engine_id) = engine_id {
            self.engine.remove(&grant.over(row, engine_id), deadline).await?;
        }
        self.store.forget_container(row).await
    }

    /// A container with our installation's label whose row is gone. A row that is being made has its id already, so
    /// nothing in flight looks like an orphan.
    async fn remove_if_orphan(&self, grant: &SystemGrant, found: &Labelled) -> Result<bool> {
        if self.store.has_container(&found.row_id).await? {
            return Ok(false);
        }
        self.engine.remove_orphan(grant, found, self.engine.deadline()).await?;
        Ok(true)
    }
}
