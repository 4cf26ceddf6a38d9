//! Starting and stopping, with the tenant's places among the running ones.

use std::time::Duration;

use super::Lifecycle;
use crate::domain::{Kind, Result, Signal, Tenant};
use crate::engine::{Deadline, Status};
use crate::policy::grant::{Audited, ContainerGrant, SystemGrant};
use crate::store::{Container, State};

impl Lifecycle {
    /// Starts it; fine if it runs. `Quota` if the tenant has as many running as it may.
    pub async fn start(&self, grant: Audited<ContainerGrant>) -> Result<()> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move {
            let deadline = this.engine.deadline();
            this.take_running(&grant).await?;
            let started = this.engine.start(&grant, deadline).await;
            this.settle_running(&grant, started, deadline).await
        })
        .await
    }

    /// Stops it after `patience` at the latest; fine if it does not run.
    pub async fn stop(&self, grant: Audited<ContainerGrant>, patience: Duration) -> Result<()> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move {
            this.engine.stop(&grant, patience, this.engine.deadline()).await?;
            this.store.give_back_running(grant.row()).await
        })
        .await
    }

    /// Stops it if it runs, and starts it.
    pub async fn restart(&self, grant: Audited<ContainerGrant>, patience: Duration) -> Result<()> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move {
            let deadline = this.engine.deadline();
            this.take_running(&grant).await?;
            let started = this.engine.restart(&grant, patience, deadline).await;
            this.settle_running(&grant, started, deadline).await
        })
        .await
    }

    /// Sends its main process a signal.
    pub async fn kill(&self, grant: Audited<ContainerGrant>, signal: Signal) -> Result<()> {
        self.engine.kill(&grant, signal, self.engine.deadline()).await
    }

    /// How it is as far as is known, and the ledger's word on whether it runs brought up to date.
    pub async fn status(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Status> {
        let status = self.engine.known_status(grant, deadline).await?;
        self.observe(grant.row(), &status).await?;
        Ok(status)
    }

    /// Takes a place among the running. Containers end by themselves; before a refusal they are looked at.
    pub(super) async fn take_running(&self, grant: &ContainerGrant) -> Result<()> {
        match self.store.take_running(grant.row()).await {
            Err(error) if error.kind == Kind::Quota => {
                self.look_at_running(grant.tenant()).await?;
                self.store.take_running(grant.row()).await
            }
            other => other,
        }
    }

    /// Gives places back that containers of this tenant no longer need.
    async fn look_at_running(&self, tenant: &Tenant) -> Result<()> {
        let system = SystemGrant::for_upkeep();
        for row in self.store.containers(tenant).await?.into_iter().filter(|row| row.running) {
            self.look_at(&system, &row, self.engine.deadline()).await?;
        }
        Ok(())
    }

    /// Looks at one row, and brings the ledger's word on whether it runs up to date. Whether Podman has it; what
    /// somebody works on is left to them.
    pub(super) async fn look_at(&self, system: &SystemGrant, row: &Container, deadline: Deadline) -> Result<bool> {
        let (Some(engine_id), Some(_claim)) = (row.engine_id.clone(), self.claim(&row.id)) else { return Ok(true) };
        match self.engine.status(&system.over(row, engine_id), deadline).await {
            Ok(status) => self.observe(row, &status).await.map(|()| true),
            Err(error) if error.kind == Kind::NotFound => self.store.give_back_running(row).await.map(|()| false),
            Err(error) => Err(error),
        }
    }

    async fn observe(&self, row: &Container, status: &Status) -> Result<()> {
        match (row.running, status.is_running()) {
            (true, false) => self.store.give_back_running(row).await,
            // An operator started it: it counts, and stays even where the tenant has too many now.
            (false, true) if row.state == State::Ready => match self.store.take_running(row).await {
                Err(error) if error.kind == Kind::Quota => Ok(()),
                other => other,
            },
            _ => Ok(()),
        }
    }

    /// After a failed start the place goes back unless it runs all the same.
    async fn settle_running(&self, grant: &ContainerGrant, started: Result<()>, deadline: Deadline) -> Result<()> {
        if started.is_err() && self.engine.status(grant, deadline).await.is_ok_and(|status| !status.is_running()) {
            self.store.give_back_running(grant.row()).await?;
        }
        started
    }
}
