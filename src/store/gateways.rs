//! Which gateways live: what one of them is about, the others leave alone.

use std::time::Instant;

use super::Store;
use crate::domain::Result;

/// A gateway that was not heard for this long is dead, in milliseconds.
const DEAD_AFTER_MS: i64 = 15_000;

impl Store {
    /// Says that this gateway lives. Often enough, or the others take its work for what a crash left.
    pub async fn beat(&self) -> Result<()> {
        let asked = Instant::now();
        sqlx::query(
            "INSERT INTO gateways (id, seen_ms) VALUES ($1, $2)
             ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms",
        )
        .bind(&*self.gateway)
        .bind(self.world.now_ms())
        .execute(&self.pool)
        .await?;
        self.metrics.store_took("heartbeat", asked.elapsed());
        Ok(())
    }

    /// Says that this gateway ends: whoever waits for its silence need not.
    pub async fn farewell(&self) -> Result<()> {
        sqlx::query("UPDATE gateways SET seen_ms = 0 WHERE id = $1").bind(&*self.gateway).execute(&self.pool).await?;
        Ok(())
    }

    /// Who we are.
    pub fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Whether this gateway was heard of late.
    pub async fn gateway_lives(&self, gateway: &str) -> Result<bool> {
        let seen: Option<i64> = sqlx::query_scalar("SELECT seen_ms FROM gateways WHERE id = $1")
            .bind(gateway)
            .fetch_optional(&self.pool)
            .await?;
        Ok(seen.is_some_and(|seen| seen > self.living_since()))
    }

    /// Gateways heard since then live.
    pub(super) fn living_since(&self) -> i64 {
        self.world.now_ms() - DEAD_AFTER_MS
    }
}
