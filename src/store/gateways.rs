//! Which gateways live: what one of them is about, the others leave alone.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use sqlx::{Any, Executor};

use super::Store;
use crate::domain::Result;

/// A gateway that was not heard for this long is dead, in milliseconds.
const DEAD_AFTER_MS: i64 = 15_000;
/// A clock that is so far from the database's is wrong, or the database's is, in milliseconds.
const APART_MS: u64 = 5_000;

/// PostgreSQL's time, milliseconds since 1970.
pub(super) const POSTGRES_NOW: &str = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)";

/// Whether this gateway's clock and the database's tell different times.
pub(super) type ClockIsOff = std::sync::Arc<AtomicBool>;

impl Store {
    /// Says that this gateway lives. Often enough, or the others take its work for what a crash left.
    pub async fn beat(&self) -> Result<()> {
        let asked = Instant::now();
        let now = self.shared_now_ms(&self.pool).await?;
        self.compare_clocks(now);
        sqlx::query(
            "INSERT INTO gateways (id, seen_ms) VALUES ($1, $2)
             ON CONFLICT (id) DO UPDATE SET seen_ms = excluded.seen_ms",
        )
        .bind(&*self.gateway)
        .bind(now)
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
        let since = self.living_since(&self.pool).await?;
        Ok(seen.is_some_and(|seen| seen > since))
    }

    /// Gateways heard since then live.
    pub(super) async fn living_since(&self, from: impl Executor<'_, Database = Any>) -> Result<i64> {
        Ok(self.shared_now_ms(from).await? - DEAD_AFTER_MS)
    }

    /// The time by the one clock that all gateways over this store have in common: PostgreSQL's, as their hosts' may
    /// differ, or that of the one host where SQLite's file is.
    async fn shared_now_ms(&self, from: impl Executor<'_, Database = Any>) -> Result<i64> {
        if !self.is_postgres {
            return Ok(self.world.now_ms());
        }
        Ok(sqlx::query_scalar(POSTGRES_NOW).fetch_one(from).await?)
    }

    /// Says when the two begin to differ, and when they do no more: tokens and times of expiry go by a gateway's own.
    fn compare_clocks(&self, shared_ms: i64) {
        let apart_ms = self.world.now_ms() - shared_ms;
        let is_off = apart_ms.unsigned_abs() > APART_MS;
        match (self.clock_is_off.swap(is_off, Ordering::Relaxed), is_off) {
            (false, true) => tracing::error!(
                apart_ms,
                "this gateway's clock and the database's differ: tokens and times of expiry do not mean the same everywhere"
            ),
            (true, false) => tracing::info!("this gateway's clock and the database's agree again"),
            _ => {}
        }
    }
}
