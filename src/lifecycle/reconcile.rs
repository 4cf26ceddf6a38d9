//! Bringing the ledger and Podman together again after a crash, of ours or of Podman.

use std::collections::BTreeMap;

use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::Lifecycle;
use crate::domain::{EngineId, Kind, Result, Tenant};
use crate::engine::{Deadline, Labelled};
use crate::policy::grant::{Audited, SystemGrant};
use crate::store::{Container, Deed, Object, Volume};

/// What a round found and settled.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Reconciled {
    /// Rows half made or half removed, now gone with their containers.
    pub rows: usize,
    /// What could not be settled; the next round tries again.
    pub failed: usize,
}

impl Reconciled {
    /// Counts one outcome. A Podman that is out of reach ends the round.
    fn note(&mut self, outcome: Result<bool>, what: &str, row_id: &str) -> Result<()> {
        match outcome {
            Ok(true) => self.rows += 1,
            Ok(false) => {}
            Err(error) if error.kind == Kind::EngineDown => return Err(error),
            Err(error) => {
                tracing::warn!(row = row_id, ?error, "{what}");
                self.failed += 1;
            }
        }
        Ok(())
    }
}

/// What Podman has of this installation and the ledger does not know.
#[derive(Debug, Default)]
pub struct Strays {
    /// Containers.
    pub containers: Vec<Labelled>,
    /// Networks of tenants that there are not, by Podman's name.
    pub networks: Vec<String>,
    /// Volumes, by our identifier.
    pub volumes: Vec<String>,
}

impl Strays {
    /// How many.
    pub fn count(&self) -> usize {
        self.containers.len() + self.networks.len() + self.volumes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }
}

/// A tenant's rows that a round looks at.
#[derive(Default)]
struct Rows {
    unsettled: Vec<Container>,
    volumes: Vec<Volume>,
}

/// Why something goes that no row names.
const ORPHAN: &str = "it carries our label, and nobody owns it";

/// Tenants that a round works on at once.
const TENANTS_AT_ONCE: usize = 16;

impl Lifecycle {
    /// One round over the ledger: rows that are not settled are taken back, of some tenants at once. A round ends when the
    /// last of them has; the next begins then.
    ///
    /// Fails as a whole only where Podman or the store is out of reach.
    pub async fn reconcile(&self, grant: &SystemGrant) -> Result<Reconciled> {
        let mut work: BTreeMap<String, Rows> = BTreeMap::new();
        for row in self.store.unsettled_containers().await? {
            work.entry(row.tenant.id.clone()).or_default().unsettled.push(row);
        }
        for volume in self.store.unsettled_volumes().await? {
            work.entry(volume.tenant.id.clone()).or_default().volumes.push(volume);
        }
        let rounds = stream::iter(work.into_values()).map(|rows| self.reconcile_tenant(grant, rows));
        let rounds: Vec<Reconciled> = rounds.buffer_unordered(TENANTS_AT_ONCE).try_collect().await?;
        Ok(Reconciled {
            rows: rounds.iter().map(|round| round.rows).sum(),
            failed: rounds.iter().map(|round| round.failed).sum(),
        })
    }

    async fn reconcile_tenant(&self, grant: &SystemGrant, rows: Rows) -> Result<Reconciled> {
        let mut done = Reconciled::default();
        for row in &rows.unsettled {
            done.note(self.take_back_if_unsettled(grant, row).await, "a container could not be settled", &row.id)?;
        }
        // After the containers that have them.
        for volume in &rows.volumes {
            let outcome = self.settle_volume(grant, volume, false).await;
            done.note(outcome, "a volume could not be settled", &volume.id)?;
        }
        Ok(done)
    }

    /// Learns what Podman's host can enforce, and says what it cannot.
    pub async fn learn_host(&self, grant: &SystemGrant) -> Result<()> {
        let lacks = self.engine.learn_host(grant).await?.lacks();
        if !lacks.is_empty() {
            tracing::warn!("Podman's host cannot enforce: {}", lacks.join(", "));
        }
        Ok(())
    }

    /// Learns whether Podman can read the seccomp profile, and says when that changed.
    pub async fn probe_seccomp(&self, grant: &SystemGrant) -> Result<()> {
        let before = self.engine.host().seccomp;
        match (before, self.engine.probe_seccomp(grant).await?) {
            (true, false) => {
                tracing::error!("Podman cannot read the seccomp profile (engine.seccomp_path): creates get 503")
            }
            (false, true) => tracing::info!("Podman can read the seccomp profile"),
            _ => {}
        }
        Ok(())
    }

    /// What carries our label and nobody owns.
    pub async fn strays(&self, grant: &SystemGrant) -> Result<Strays> {
        let mut containers = Vec::new();
        for found in self.labelled(grant).await? {
            if !self.is_owned(&found).await? {
                containers.push(found);
            }
        }
        let mut strays = self.other_strays(grant).await?;
        containers.retain(|found: &Labelled| found.visitor().is_none());
        strays.containers.append(&mut containers);
        Ok(strays)
    }

    /// The same without containers of tenants, of which events tell, and whose list waits for every container on the host,
    /// a wedged one too: not for every day.
    async fn other_strays(&self, grant: &SystemGrant) -> Result<Strays> {
        let mut strays = Strays::default();
        for visitor in self.engine.visitors(grant, &self.installation).await? {
            if visitor.visitor().is_some() && !self.is_owned(&visitor).await? {
                strays.containers.push(visitor);
            }
        }
        for network in self.engine.own_networks(grant, &self.installation).await? {
            let is_owned = match network.tenant_id() {
                Some(id) => self.store.has_tenant(id).await?,
                None => false,
            };
            if !is_owned {
                strays.networks.push(network.name);
            }
        }
        for volume in self.engine.own_volumes(grant, &self.installation).await? {
            if !self.store.has_volume(&volume).await? {
                strays.volumes.push(volume);
            }
        }
        Ok(strays)
    }

    /// Takes visitors, networks and volumes away that are strays, unless they are kept since a restore. Says how many went.
    pub async fn settle_other_strays(&self, grant: &SystemGrant) -> Result<usize> {
        if self.store.keeps_strays().await? {
            return Ok(0);
        }
        let strays = self.other_strays(grant).await?;
        Ok(self.remove_all(grant, strays).await)
    }

    /// Takes strays away, unless they are kept since a restore. At start and after Podman was away; in between, events tell
    /// of containers ([`Self::settle_stray`]). Says how many went, and how many are kept.
    pub async fn settle_strays(&self, grant: &SystemGrant) -> Result<(usize, usize)> {
        if !self.store.keeps_strays().await? {
            return Ok((self.remove_strays(grant).await?, 0));
        }
        let kept = self.strays(grant).await?.count();
        if kept == 0 {
            self.store.keep_no_strays().await?;
        }
        Ok((0, kept))
    }

    /// Takes a container away if it is a stray, and strays are not kept. Whether it went.
    pub(super) async fn settle_stray(&self, grant: &SystemGrant, id: &EngineId, deadline: Deadline) -> Result<bool> {
        if self.store.knows_container(id).await? {
            return Ok(false);
        }
        let Some(found) = self.engine.labelled_one(grant, &self.installation, id, deadline).await? else {
            return Ok(false);
        };
        // What installs the agent here goes with that, a visitor with its visit.
        if found.installer().is_some()
            || found.visitor().is_some()
            || self.is_owned(&found).await?
            || self.store.keeps_strays().await?
        {
            return Ok(false);
        }
        self.remove_stray(grant, &found).await.map(|()| true)
    }

    /// Takes away whoever still visits the tenant's files: it has user ids that another tenant may get.
    pub(super) async fn remove_visitors_of(&self, grant: &SystemGrant, tenant: &Tenant) -> Result<()> {
        for visitor in self.engine.visitors(grant, &self.installation).await? {
            if visitor.visitor().is_some_and(|(_, tenant_id)| tenant_id == tenant.id) {
                self.remove_stray(grant, &visitor).await?;
            }
        }
        Ok(())
    }

    async fn remove_stray(&self, grant: &SystemGrant, found: &Labelled) -> Result<()> {
        let deed =
            Deed::of_the_system("removeContainer", Object::of_kind("container").with_id(&found.row_id), Some(ORPHAN));
        let deadline = self.engine.deadline();
        let removing = async |grant: &Audited<SystemGrant>| self.engine.remove_orphan(grant, found, deadline).await;
        self.upkeep(grant, &found.row_id, deed, removing).await
    }

    /// Takes all strays away, and programs that no container has. How many went.
    pub async fn remove_strays(&self, grant: &SystemGrant) -> Result<usize> {
        let strays = self.strays(grant).await?;
        let gone = self.remove_all(grant, strays).await;
        Ok(gone + self.engine.remove_old_agents(grant, &self.installation).await?)
    }

    /// Takes these away: containers, then the networks and volumes that they may have held. How many went.
    async fn remove_all(&self, grant: &SystemGrant, Strays { containers, networks, volumes }: Strays) -> usize {
        let mut gone = 0;
        let mut note = |outcome: Result<()>, what: &str| match outcome {
            Ok(()) => gone += 1,
            Err(error) => tracing::warn!(what, ?error, "what nobody owns could not be removed"),
        };
        for found in containers {
            note(self.remove_stray(grant, &found).await, found.engine_id.short());
        }
        for network in networks {
            let deed = Deed::of_the_system("removeNetwork", Object::named("network", &network), Some(ORPHAN));
            let removing = async |grant: &Audited<SystemGrant>| self.engine.remove_own_network(grant, &network).await;
            note(self.upkeep(grant, &network, deed, removing).await, &network);
        }
        for volume in volumes {
            let deed = Deed::of_the_system("removeVolume", Object::of_kind("volume").with_id(&volume), Some(ORPHAN));
            let removing = async |grant: &Audited<SystemGrant>| self.engine.remove_own_volume(grant, &volume).await;
            note(self.upkeep(grant, &volume, deed, removing).await, &volume);
        }
        gone
    }

    async fn take_back_if_unsettled(&self, grant: &SystemGrant, row: &Container) -> Result<bool> {
        let Some(_claim) = self.claim(&row.id) else { return Ok(false) };
        // What was unsettled when the list was read may have been settled by whoever worked on it since.
        let Some(row) = self.store.unsettled_container(&row.id).await? else { return Ok(false) };
        self.take_back(grant, &row, "it was half made or half removed").await.map(|()| true)
    }

    /// Takes away what the ledger has under this row, and the row.
    pub(super) async fn take_back(&self, grant: &SystemGrant, row: &Container, reason: &str) -> Result<()> {
        let deed = Deed::of_the_system("removeContainer", Object::from(row), Some(reason));
        let removing = async |grant: &Audited<SystemGrant>| self.take_back_steps(grant, row).await;
        self.upkeep(grant, &row.id, deed, removing).await
    }

    async fn take_back_steps(&self, grant: &Audited<SystemGrant>, row: &Container) -> Result<()> {
        let deadline = self.engine.deadline();
        let engine_id = match &row.engine_id {
            Some(engine_id) => Some(engine_id.clone()),
            None => self.engine.find_made(&row.tenant, &row.name, &row.id, deadline).await?,
        };
        if let Some(engine_id) = engine_id {
            self.engine.remove(&grant.over_container(row, engine_id), deadline).await?;
        }
        self.store.forget_container(row).await
    }

    /// All containers with our label, once this gateway is not installing the agent: what it did that through is gone
    /// then, or a crash left it, and nobody else takes it away.
    async fn labelled(&self, grant: &SystemGrant) -> Result<Vec<Labelled>> {
        let ask = || self.engine.labelled(grant, &self.installation, self.engine.deadline());
        let found = ask().await?;
        if found.iter().all(|container| container.installer() != Some(self.store.gateway())) {
            return Ok(found);
        }
        self.engine.await_agent().await;
        ask().await
    }

    /// Whether somebody answers for a container with our label.
    async fn is_owned(&self, found: &Labelled) -> Result<bool> {
        // Whatever its labels say, of which an image may bring some.
        if self.store.knows_container(&found.engine_id).await? {
            return Ok(true);
        }
        if let Some((gateway, _)) = found.visitor() {
            let is_ours = gateway == self.store.gateway();
            return if is_ours { Ok(self.engine.is_visiting(found)) } else { self.store.gateway_lives(gateway).await };
        }
        match found.installer() {
            Some(gateway) if gateway == self.store.gateway() => Ok(false),
            Some(gateway) => self.store.gateway_lives(gateway).await,
            // A row that is being made has its id already, so nothing in flight looks like a stray.
            None => self.store.has_container(&found.row_id).await,
        }
    }
}
