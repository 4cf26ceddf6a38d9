//! What tenants store. Nothing on most hosts keeps a container from filling the disk, so it is measured, a little at a
//! time, and who writes on beyond its quota is stopped (SECURITY rule 26: an honest watchdog).
//!
//! Podman is asked, which costs little and is right for whoever has nothing to hide. Now and then, and wherever Podman has
//! no answer, a visitor surveys what there is (docs/decisions/0028).

use std::collections::HashSet;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::rows::lock;
use super::turns::{PAUSE, Turn, Turns};
use super::{Lifecycle, ROUND, within};
use crate::domain::{Kind, Measured, Result, Signal};
use crate::engine::Survey;
use crate::policy::grant::{ContainerGrant, SystemGrant};
use crate::store::{Container, Deed, Object, Outcome, Usage, Volume};

/// How long one measurement may take. Podman walks over every file, to the end whoever waits, with the container locked.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many go on at once.
const AT_ONCE: usize = 4;
/// How long a survey may take, for each of the things that a container stores in.
const SURVEY_PATIENCE: Duration = Duration::from_secs(20);
/// How long Podman may take to tell of all volumes before it is taken for silent.
const SOON: Duration = Duration::from_secs(10);
/// What a survey may find more than Podman tells, beside an eighth of it: what was written in between, and inodes.
const SLACK: i64 = 16 * 1024 * 1024;

/// Whom not to believe about volumes.
#[derive(Clone, Default)]
pub(super) struct Doubts {
    /// Podman does not tell of volumes just now.
    silent: Arc<AtomicBool>,
    /// Volumes that hold more than Podman finds, by our identifier.
    volumes: Arc<Mutex<HashSet<String>>>,
}

impl Lifecycle {
    /// Measures containers, for ever, and surveys each running one so often.
    pub async fn measure_containers(&self, system: &SystemGrant, survey_every: Duration) {
        let (mut turns, mut going) = (Turns::default(), FuturesUnordered::new());
        let mut ticks = interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some((turn, took)) = going.next(), if !going.is_empty() => turns.rest(turn, took),
                _ = ticks.tick(), if going.len() < AT_ONCE => {
                    match within(SOON, self.store.tenants_with_containers()).await {
                        Ok(tenants) => {
                            let turn = turns.next(tenants);
                            going.extend(turn.map(|turn| self.measure_one(system, turn, survey_every)));
                        }
                        Err(error) => tracing::warn!(?error, "what containers store cannot be measured"),
                    }
                }
            }
        }
    }

    async fn measure_one(&self, system: &SystemGrant, mut turn: Turn, survey_every: Duration) -> (Turn, Duration) {
        let begun = Instant::now();
        if let Err(error) = within(ROUND, self.measure_next(system, &mut turn, survey_every)).await {
            tracing::warn!(?error, "what a container stores could not be noted");
        }
        // As long as that only the store takes, which is no reason for the tenant to rest.
        let took = begun.elapsed();
        (turn, if took < ROUND { took } else { Duration::ZERO })
    }

    /// Measures the tenant's next container.
    async fn measure_next(&self, system: &SystemGrant, turn: &mut Turn, survey_every: Duration) -> Result<()> {
        let Some(row) = self.store.next_container(&turn.tenant_id, &turn.cursor).await? else {
            turn.begin_anew(survey_every * 2);
            return Ok(());
        };
        turn.cursor = row.id.clone();
        let Some(engine_id) = row.engine_id.clone() else { return Ok(()) };
        let grant = system.over(&row, engine_id);
        let known = turn.known(&row.id);
        let told = if known.is_believed { self.told(&grant).await } else { Ok(None) };
        let told = match told {
            Ok(told) => told,
            Err(error) => {
                tracing::debug!(container.row = row.id, ?error, "a container could not be measured");
                return Ok(());
            }
        };
        if let Some(bytes) = told {
            self.note(system, &row, Measured::whole(bytes)).await?;
        }
        let is_wanted = told.is_none() || self.doubts_volumes_of(&row).await?;
        let last = known.surveyed.or_else(|| told.is_some().then_some(known.since));
        let is_long_ago = last.is_none_or(|at| at.elapsed() >= survey_every);
        // What does not run does not grow, but for files that are counted as they come.
        let is_due = if row.running { is_wanted || is_long_ago } else { is_wanted && is_long_ago };
        if !is_due {
            return Ok(());
        }
        known.surveyed = Some(Instant::now());
        match self.engine.survey(&grant, SURVEY_PATIENCE).await {
            Ok(survey) => {
                tracing::debug!(container.row = row.id, ?told, ?survey, "a container was surveyed");
                let layer = survey.layer.filter(|layer| told.is_none_or(|told| hides(told, *layer)));
                known.is_believed &= told.is_some() && layer.is_none();
                if let Some(layer) = layer {
                    self.note(system, &row, layer).await?;
                }
                self.note_volumes(system, &row, survey).await
            }
            Err(error) => {
                tracing::debug!(container.row = row.id, ?error, "a container could not be surveyed");
                Ok(())
            }
        }
    }

    /// What Podman says of a container; nothing where it has no answer.
    async fn told(&self, grant: &ContainerGrant) -> Result<Option<i64>> {
        let begun = Instant::now();
        match self.engine.stored_bytes(grant, PATIENCE).await {
            Ok(bytes) => Ok((bytes > 0).then_some(bytes)),
            Err(error) if error.kind == Kind::EngineTimeout && begun.elapsed() >= PATIENCE => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn note(&self, system: &SystemGrant, row: &Container, stored: Measured) -> Result<()> {
        match self.store.set_container_stored(row, stored).await? {
            Some(usage) if row.running => self.stop_beyond(system, row, usage).await,
            _ => Ok(()),
        }
    }

    /// Whether what Podman says of any of the container's volumes is not to be believed.
    async fn doubts_volumes_of(&self, row: &Container) -> Result<bool> {
        let silent = self.doubts.silent.load(Ordering::Relaxed);
        if !silent && lock(&self.doubts.volumes).is_empty() {
            return Ok(false);
        }
        Ok(self.store.volumes_of(row).await?.iter().any(|volume| silent || self.doubts(volume)))
    }

    fn doubts(&self, volume: &Volume) -> bool {
        lock(&self.doubts.volumes).contains(&volume.id)
    }

    async fn note_volumes(&self, system: &SystemGrant, row: &Container, survey: Survey) -> Result<()> {
        for volume in self.store.volumes_of(row).await? {
            let found = survey.volumes.iter().find(|(id, _)| *id == volume.id);
            let Some((_, found)) = found else { continue };
            let is_silent = self.doubts.silent.load(Ordering::Relaxed);
            let is_doubted = is_silent || hides(volume.stored_bytes, *found) || self.doubts(&volume);
            if !is_doubted {
                continue;
            }
            if !is_silent {
                lock(&self.doubts.volumes).insert(volume.id.clone());
            }
            self.note_volume(system, &volume, *found).await?;
        }
        Ok(())
    }

    /// Measures all volumes that Podman is believed about. It does that for the whole host at once.
    pub async fn measure_volumes(&self, system: &SystemGrant) -> Result<()> {
        let mut asked = pin!(self.engine.volume_sizes(system));
        let sizes = match timeout(SOON, &mut asked).await {
            Ok(sizes) => sizes,
            // It may hang; whoever is surveyed meanwhile is believed.
            Err(_) => {
                self.doubts.silent.store(true, Ordering::Relaxed);
                asked.await
            }
        };
        self.doubts.silent.store(sizes.is_err(), Ordering::Relaxed);
        let (sizes, volumes) = (sizes?, self.store.settled_volumes().await?);
        lock(&self.doubts.volumes).retain(|id| volumes.iter().any(|volume| volume.id == *id));
        for volume in volumes {
            let Some(bytes) = sizes.get(&volume.id) else { continue };
            if !self.doubts(&volume) {
                self.note_volume(system, &volume, Measured::whole(*bytes)).await?;
            }
        }
        Ok(())
    }

    async fn note_volume(&self, system: &SystemGrant, volume: &Volume, stored: Measured) -> Result<()> {
        let usage = self.store.set_volume_stored(volume, stored).await?;
        let Some(usage) = usage.filter(Usage::is_beyond) else { return Ok(()) };
        // Whichever of them writes.
        for row in self.store.running_with(volume).await? {
            if let Err(error) = self.stop_beyond(system, &row, usage).await {
                tracing::warn!(container.row = row.id, ?error, "what writes on could not be stopped");
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

/// Whether a survey found what Podman did not.
fn hides(told: i64, found: Measured) -> bool {
    found.bytes > told.saturating_add(told / 8).saturating_add(SLACK)
}
