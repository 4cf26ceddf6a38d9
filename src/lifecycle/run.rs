//! Starting and stopping, with the tenant's places among the running ones.

use std::time::Duration;

use super::Lifecycle;
use super::watch::PATIENCE;
use crate::domain::{Error, EventKind, Kind, Result, Signal, Tenant, parse_timestamp_ms};
use crate::engine::{Deadline, Status};
use crate::policy::grant::{Audited, ContainerGrant, SystemGrant};
use crate::store::{Container, State};

/// So many milliseconds after its deadline a start that began is over: its place was taken or given back.
const AFTER_A_START: i64 = 5_000;

impl Lifecycle {
    /// Starts it; fine if it runs. `Quota` if the tenant has as many running as it may.
    pub async fn start(&self, grant: Audited<ContainerGrant>) -> Result<()> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move {
            let deadline = this.engine.deadline();
            let start = async {
                this.check_ports(&grant).await?;
                let is_new = this.take_running(&grant).await?;
                let started = this.engine.start(&grant, deadline).await;
                this.settle_running(&grant, started, deadline).await?;
                if is_new { this.store.note_event(grant.row(), EventKind::Started).await } else { Ok(()) }
            };
            this.changing(&grant, start).await
        })
        .await
    }

    /// Stops it after `patience` at the latest; fine if it does not run.
    pub async fn stop(&self, grant: Audited<ContainerGrant>, patience: Duration) -> Result<()> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move {
            let stop = async {
                this.engine.stop(&grant, patience, this.engine.deadline()).await?;
                let status = this.engine.status(&grant, this.engine.deadline()).await;
                let exit_code = status.ok().and_then(|status| status.exit_code);
                this.store.note_stopped(grant.row(), exit_code).await
            };
            this.changing(&grant, stop).await
        })
        .await
    }

    /// Stops it if it runs, and starts it.
    pub async fn restart(&self, grant: Audited<ContainerGrant>, patience: Duration) -> Result<()> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move {
            let deadline = this.engine.deadline();
            let restart = async {
                this.check_ports(&grant).await?;
                let is_new = this.take_running(&grant).await?;
                let started = this.engine.restart(&grant, patience, deadline).await;
                this.settle_running(&grant, started, deadline).await?;
                let kind = if is_new { EventKind::Started } else { EventKind::Restarted };
                this.store.note_event(grant.row(), kind).await
            };
            this.changing(&grant, restart).await
        })
        .await
    }

    /// Freezes its processes.
    pub async fn pause(&self, grant: &Audited<ContainerGrant>) -> Result<()> {
        self.engine.pause(grant, self.engine.deadline()).await?;
        self.store.note_event(grant.row(), EventKind::Paused).await
    }

    /// Lets them go on.
    pub async fn unpause(&self, grant: &Audited<ContainerGrant>) -> Result<()> {
        self.engine.unpause(grant, self.engine.deadline()).await?;
        self.store.note_event(grant.row(), EventKind::Unpaused).await
    }

    /// Sends its main process a signal.
    pub async fn kill(&self, grant: Audited<ContainerGrant>, signal: Signal) -> Result<()> {
        self.engine.kill(&grant, signal, self.engine.deadline()).await
    }

    /// How it is as far as is known, and the ledger's word on whether it runs brought up to date; what somebody is
    /// changing is left to them.
    pub async fn status(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Status> {
        let row = grant.row();
        let mut status = self.engine.known_status(grant, deadline).await?;
        if self.is_changing(&row.id) || status.is_running() == row.running {
            return Ok(status);
        }
        // What was seen before may be older than what the ledger says.
        status = self.engine.status(grant, deadline).await?;
        if !self.is_changing(&row.id) {
            self.observe(row, &status).await?;
        }
        Ok(status)
    }

    /// `Conflict` where it publishes a port on which the gateway listens by now: it would be bound again before the
    /// gateway's next start can.
    async fn check_ports(&self, grant: &ContainerGrant) -> Result<()> {
        let ports = self.store.published_ports(grant.tenant(), &grant.row().id).await?;
        match ports.into_iter().find(|port| self.own_ports.contains(&port.host)) {
            Some(port) => {
                let message =
                    format!("it publishes host port {}, which is the gateway's own; create it anew", port.host);
                Err(Error::new(Kind::Conflict, message))
            }
            None => Ok(()),
        }
    }

    /// Takes a place among the running. Whether it had none. Containers end by themselves; before a refusal they are looked at.
    pub(super) async fn take_running(&self, grant: &ContainerGrant) -> Result<bool> {
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
            match self.look_at(&system, &row, self.engine.deadline().within(PATIENCE)).await {
                // One that Podman does not answer for keeps its place, and is no reason against the others.
                Err(error) if !matches!(error.kind, Kind::EngineDown | Kind::StoreDown) => {
                    tracing::debug!(container.row = row.id, ?error, "a container could not be looked at");
                }
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Looks at one row, and brings the ledger's word on whether it runs up to date. Whether Podman has it; what
    /// somebody works on is left to them.
    pub(super) async fn look_at(&self, system: &SystemGrant, row: &Container, deadline: Deadline) -> Result<bool> {
        if self.is_changing(&row.id) {
            return Ok(true);
        }
        let (Some(engine_id), Some(_claim)) = (row.engine_id.clone(), self.claim(&row.id)) else { return Ok(true) };
        match self.engine.status(&system.over(row, engine_id), deadline).await {
            Ok(status) => self.observe(row, &status).await.map(|()| true),
            Err(error) if error.kind == Kind::NotFound => self.store.give_back_running(row).await.map(|()| false),
            Err(error) => Err(error),
        }
    }

    /// Brings the ledger's word on whether it runs up to date.
    pub(super) async fn observe(&self, row: &Container, status: &Status) -> Result<()> {
        match (row.running, status.is_running()) {
            (true, false) => {
                let patience = i64::try_from(self.engine.patience().as_millis()).unwrap_or(i64::MAX);
                let over_ms = self.store.now_ms().saturating_sub(patience).saturating_sub(AFTER_A_START);
                // None of one that never ran.
                let finished_ms = status.finished_at.as_deref().and_then(|time| parse_timestamp_ms(time).ok());
                let placed_until = finished_ms.map_or(over_ms, |ended| ended.max(over_ms));
                self.store.note_end(row, status.exit_code, placed_until).await
            }
            // An operator started it: it counts, and stays even where the tenant has too many now.
            (false, true) if row.state == State::Ready => self.store.note_running(row).await,
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
