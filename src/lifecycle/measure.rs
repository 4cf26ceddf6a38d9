//! What tenants store. Nothing on most hosts keeps a container from filling the disk, so it is measured, a little at a
//! time, and who writes on beyond its quota is stopped (SECURITY rule 26: an honest watchdog).

use std::time::Duration;

use tokio::time::Instant;

use super::Lifecycle;
use crate::domain::{Kind, Result, Signal};
use crate::policy::grant::SystemGrant;
use crate::store::{Container, Deed, Object, Outcome, Usage};

/// How long one measurement may take. Podman walks over every file.
const PATIENCE: Duration = Duration::from_secs(10);

impl Lifecycle {
    /// Measures the ledger's next container after `cursor`; gives the next cursor, and how long Podman took.
    pub async fn measure_next(&self, system: &SystemGrant, cursor: &str) -> Result<(String, Duration)> {
        let Some(row) = self.store.containers_after(cursor, 1).await?.pop() else {
            return Ok((String::new(), Duration::ZERO));
        };
        let next = row.id.clone();
        let Some(engine_id) = row.engine_id.clone() else { return Ok((next, Duration::ZERO)) };
        let grant = system.over(&row, engine_id);
        let begun = Instant::now();
        let measured = self.engine.stored_bytes(&grant, self.engine.deadline().within(PATIENCE)).await;
        let took = begun.elapsed();
        let bytes = match measured {
            Ok(bytes) => bytes,
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::EngineDown) => return Ok((next, took)),
            Err(error) => {
                tracing::debug!(container.row = row.id, ?error, "a container could not be measured");
                return Ok((next, took));
            }
        };
        if let Some((usage, more)) = self.store.set_container_stored(&row, bytes).await?
            && row.running
        {
            self.stop_beyond(system, &row, usage, more).await?;
        }
        Ok((next, took))
    }

    /// Measures all volumes. Podman does that for the whole host at once, and not at all while a container is wedged.
    pub async fn measure_volumes(&self, system: &SystemGrant) -> Result<()> {
        let sizes = self.engine.volume_sizes(system).await?;
        for volume in self.store.settled_volumes().await? {
            let Some(bytes) = sizes.get(&volume.id) else { continue };
            let Some((usage, more)) = self.store.set_volume_stored(&volume, *bytes).await? else { continue };
            if more <= 0 || usage.used <= usage.limit {
                continue;
            }
            // Whichever of them writes.
            for row in self.store.running_with(&volume).await? {
                if let Err(error) = self.stop_beyond(system, &row, usage, more).await {
                    tracing::warn!(container.row = row.id, ?error, "what writes on could not be stopped");
                }
            }
        }
        Ok(())
    }

    /// Stops a running container that stores so much more than before, where its tenant stores more than it may.
    async fn stop_beyond(&self, system: &SystemGrant, row: &Container, usage: Usage, more: i64) -> Result<()> {
        let (true, Some(engine_id)) = (more > 0 && usage.used > usage.limit, &row.engine_id) else { return Ok(()) };
        let (tenant, name) = (row.tenant.slug.as_str(), row.name.as_str());
        tracing::warn!(
            tenant,
            container.name = name,
            used = usage.used,
            limit = usage.limit,
            "stopped: it writes on beyond its tenant's quota of stored_bytes"
        );
        let reason = format!("stored_bytes: {} of {} used, and it writes on", usage.used, usage.limit);
        let deed = Deed::of_the_system("killContainer", Object::from(row), Some(&reason));
        let entry = self.store.announce_upkeep(deed).await?;
        let system = system.announced(entry.clone());
        let killed = self.kill(system.over_container(row, engine_id.clone()), Signal::KILL).await;
        entry.end(Outcome::of(&killed));
        killed
    }
}
