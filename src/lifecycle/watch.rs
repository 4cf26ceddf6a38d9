//! Learning what happens to containers without our doing: by Podman's events, and by looking at a few at a time.

use std::time::Duration;

use futures_util::stream::{self, StreamExt};

use super::rows::lock;
use super::{Lifecycle, within};
use crate::domain::{EngineId, Kind, Result};
use crate::policy::grant::SystemGrant;
use crate::store::Container;

/// Containers looked at in one bite, how many at once, and how long each may take.
const BITE: u32 = 10;
const AT_ONCE: usize = 4;
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How long one look may take with all that is written down of it. A look that is given up is made up for in the round
/// over all.
const LOOKING: Duration = Duration::from_secs(60);

impl Lifecycle {
    /// Hears Podman's events until they end, which they never should.
    pub async fn follow_events(&self, system: &SystemGrant) -> Result<()> {
        self.engine.follow_events(system).await
    }

    /// Looks at the containers that events tell of, for ever, so that one that ended holds no place among the running.
    pub async fn look_where_something_happened(&self, system: &SystemGrant) {
        loop {
            let touched: Vec<(EngineId, bool)> = self.engine.touched().await.into_iter().collect();
            let looks = stream::iter(touched).for_each_concurrent(AT_ONCE, |(id, made)| async move {
                if let Err(error) = within(LOOKING, self.look_up(system, &id, made)).await {
                    tracing::warn!(?error, "an event could not be looked up");
                }
            });
            looks.await;
        }
    }

    async fn look_up(&self, system: &SystemGrant, id: &EngineId, made: bool) -> Result<()> {
        match self.store.container_by_engine_id(id).await? {
            Some(row) => self.look_and_tell(system, &row).await,
            None if made => self.look_at_stranger(system, id).await,
            None => {}
        }
        Ok(())
    }

    /// Takes a container away that somebody else gave our label.
    async fn look_at_stranger(&self, system: &SystemGrant, id: &EngineId) {
        match self.settle_stray(system, id, self.engine.deadline().within(PATIENCE)).await {
            Ok(true) => {
                tracing::info!(container.id = id.short(), "a container with our label that nobody owns is gone")
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(?error, "a container that was made could not be looked at"),
        }
    }

    /// Looks at the ledger's next few containers after `cursor`; gives the next cursor.
    pub async fn look_at_some(&self, system: &SystemGrant, cursor: &str) -> Result<String> {
        let rows = self.store.containers_after(cursor, BITE).await?;
        let next = rows.last().map(|row| row.id.clone()).unwrap_or_default();
        if rows.is_empty() {
            self.forget_the_gone().await?;
        }
        let looks = stream::iter(rows);
        looks.for_each_concurrent(AT_ONCE, |row| async move { self.look_and_tell(system, &row).await }).await;
        Ok(next)
    }

    /// Forgets what Podman lost and is not in the ledger any more either, whoever took it out.
    async fn forget_the_gone(&self) -> Result<()> {
        let vanished: Vec<String> = lock(&self.vanished).iter().cloned().collect();
        for row_id in vanished {
            if !self.store.has_container(&row_id).await? {
                self.forget_what_is_known(&row_id);
            }
        }
        Ok(())
    }

    /// Looks at a container, and says when Podman lost it or has it again.
    async fn look_and_tell(&self, system: &SystemGrant, row: &Container) {
        let Some(engine_id) = &row.engine_id else { return };
        let (tenant, name, id) = (row.tenant.slug.as_str(), row.name.as_str(), engine_id.short());
        match self.look_at(system, row, self.engine.deadline().within(PATIENCE)).await {
            Ok(true) => {
                if lock(&self.vanished).remove(&row.id) {
                    tracing::info!(tenant, container.name = name, container.id = id, "Podman has a container again");
                }
            }
            Ok(false) => {
                // One that was removed meanwhile has not vanished.
                let still_ours = self.store.has_container(&row.id).await.unwrap_or(false);
                if !still_ours {
                    self.forget_what_is_known(&row.id);
                } else if lock(&self.vanished).insert(row.id.clone()) {
                    tracing::warn!(
                        tenant,
                        container.name = name,
                        container.id = id,
                        "Podman does not have a container"
                    );
                }
            }
            // Podman's absence is told once, by whoever waits for it; a wedged container by its calls.
            Err(error) if matches!(error.kind, Kind::EngineDown | Kind::EngineTimeout) => {}
            Err(error) => tracing::warn!(tenant, container.name = name, ?error, "a container could not be looked at"),
        }
    }
}
