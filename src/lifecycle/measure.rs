//! What tenants store. Nothing on most hosts keeps a container from filling the disk, so it is measured, a little at a
//! time, and who writes on beyond its quota is stopped (SECURITY rule 26: an honest watchdog).

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::Lifecycle;
use crate::domain::{Kind, Resource, Result, Signal};
use crate::policy::grant::SystemGrant;
use crate::store::{Container, Deed, Object, Outcome, Usage};

/// How long one measurement may take. Podman walks over every file, to the end whoever waits, with the container locked.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between the beginnings of two measurements, and how many go on at once.
const PAUSE: Duration = Duration::from_secs(1);
const AT_ONCE: usize = 4;
/// A tenant rests so many times as long as Podman walked over its files.
const REST: u32 = 20;
/// A container that could not be measured so often in a row has grown.
const TOO_OFTEN: u32 = 3;

/// One tenant's place in the round over its containers.
struct Turn {
    tenant_id: String,
    cursor: String,
    /// By row: how often in a row it could not be measured in time.
    missed: HashMap<String, u32>,
    not_before: Instant,
}

/// Whose turn it is. Each tenant waits for its own containers only.
#[derive(Default)]
struct Turns {
    resting: HashMap<String, Turn>,
    going: HashSet<String>,
}

impl Turns {
    /// The one of these tenants that has rested longest.
    fn next(&mut self, tenants: Vec<String>) -> Option<Turn> {
        let now = Instant::now();
        let tenants: HashSet<String> = tenants.into_iter().collect();
        self.resting.retain(|id, _| tenants.contains(id));
        for tenant_id in tenants.into_iter().filter(|id| !self.going.contains(id)) {
            let fresh = || Turn {
                tenant_id: tenant_id.clone(),
                cursor: String::new(),
                missed: HashMap::new(),
                not_before: now,
            };
            self.resting.entry(tenant_id.clone()).or_insert_with(fresh);
        }
        let rested = self.resting.values().filter(|turn| turn.not_before <= now);
        let next = rested.min_by_key(|turn| turn.not_before)?.tenant_id.clone();
        self.going.insert(next.clone());
        self.resting.remove(&next)
    }

    /// It is over, and took so long.
    fn rest(&mut self, mut turn: Turn, took: Duration) {
        turn.not_before = Instant::now() + PAUSE.max(took * REST);
        self.going.remove(&turn.tenant_id);
        self.resting.insert(turn.tenant_id.clone(), turn);
    }
}

impl Lifecycle {
    /// Measures containers, for ever.
    pub async fn measure_containers(&self, system: &SystemGrant) {
        let (mut turns, mut going) = (Turns::default(), FuturesUnordered::new());
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some((turn, took)) = going.next(), if !going.is_empty() => turns.rest(turn, took),
                _ = ticks.tick(), if going.len() < AT_ONCE => match self.store.tenants_with_containers().await {
                    Ok(tenants) => going.extend(turns.next(tenants).map(|turn| self.measure_one(system, turn))),
                    Err(error) => tracing::warn!(?error, "what containers store cannot be measured"),
                },
            }
        }
    }

    async fn measure_one(&self, system: &SystemGrant, mut turn: Turn) -> (Turn, Duration) {
        let begun = Instant::now();
        if let Err(error) = self.measure_next(system, &mut turn).await {
            tracing::warn!(?error, "what a container stores could not be noted");
        }
        (turn, begun.elapsed())
    }

    /// Measures the tenant's next container.
    async fn measure_next(&self, system: &SystemGrant, turn: &mut Turn) -> Result<()> {
        let Some(row) = self.store.next_container(&turn.tenant_id, &turn.cursor).await? else {
            turn.cursor.clear();
            return Ok(());
        };
        turn.cursor = row.id.clone();
        let Some(engine_id) = row.engine_id.clone() else { return Ok(()) };
        let grant = system.over(&row, engine_id);
        let begun = Instant::now();
        match self.engine.stored_bytes(&grant, PATIENCE).await {
            Ok(bytes) => {
                turn.missed.remove(&row.id);
                match self.store.set_container_stored(&row, bytes).await? {
                    Some(usage) if row.running => self.stop_beyond(system, &row, usage).await,
                    _ => Ok(()),
                }
            }
            Err(error) if error.kind == Kind::EngineTimeout && begun.elapsed() >= PATIENCE => {
                let missed = turn.missed.entry(row.id.clone()).or_default();
                *missed += 1;
                if *missed < TOO_OFTEN || !row.running {
                    return Ok(());
                }
                let usage = self.store.usage(&row.tenant).await?;
                match usage.into_iter().find(|usage| usage.resource == Resource::StoredBytes) {
                    Some(usage) => self.stop_beyond(system, &row, usage).await,
                    None => Ok(()),
                }
            }
            Err(error) => {
                tracing::debug!(container.row = row.id, ?error, "a container could not be measured");
                Ok(())
            }
        }
    }

    /// Measures all volumes. Podman does that for the whole host at once, and not at all while a container is wedged.
    pub async fn measure_volumes(&self, system: &SystemGrant) -> Result<()> {
        let sizes = self.engine.volume_sizes(system).await?;
        for volume in self.store.settled_volumes().await? {
            let Some(bytes) = sizes.get(&volume.id) else { continue };
            let Some(usage) = self.store.set_volume_stored(&volume, *bytes).await? else { continue };
            if !usage.is_beyond() {
                continue;
            }
            // Whichever of them writes.
            for row in self.store.running_with(&volume).await? {
                if let Err(error) = self.stop_beyond(system, &row, usage).await {
                    tracing::warn!(container.row = row.id, ?error, "what writes on could not be stopped");
                }
            }
        }
        Ok(())
    }

    /// Stops a running container that stores more than before, where its tenant stores more than it may.
    async fn stop_beyond(&self, system: &SystemGrant, row: &Container, usage: Usage) -> Result<()> {
        let (true, Some(engine_id)) = (usage.is_beyond(), &row.engine_id) else { return Ok(()) };
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_slow_tenant_waits_for_itself_only() {
        let mut turns = Turns::default();
        let tenants = || vec!["slow".to_owned(), "quick".to_owned()];
        let both = [turns.next(tenants()).unwrap(), turns.next(tenants()).unwrap()];
        assert!(turns.next(tenants()).is_none(), "each goes once at a time");
        for turn in both {
            let took = if turn.tenant_id == "slow" { PATIENCE } else { Duration::ZERO };
            turns.rest(turn, took);
        }
        let mut went = Vec::new();
        for _ in 1..60 * REST {
            tokio::time::advance(PAUSE).await;
            if let Some(turn) = turns.next(tenants()) {
                went.push(turn.tenant_id.clone());
                turns.rest(turn, Duration::ZERO);
            }
        }
        assert!(went.len() > 1000 && went.iter().all(|one| one == "quick"), "{}", went.len());
        tokio::time::advance(PAUSE * 3).await;
        let both: HashSet<String> =
            [(); 2].into_iter().filter_map(|()| Some(turns.next(tenants())?.tenant_id)).collect();
        assert_eq!(both.len(), 2);
        assert_eq!(turns.next(vec!["new".into()]).unwrap().tenant_id, "new");
        assert!(turns.resting.is_empty());
    }
}
