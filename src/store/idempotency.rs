//! Requests with an idempotency key: one try at a time, and the answer of the one that succeeded.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sqlx::AnyConnection;

use super::Store;
use crate::domain::{Attempt, Result, Tenant};

/// A request with its key, as far as it is kept: digests.
#[derive(Debug, Clone)]
pub struct KeyedRequest {
    /// Of principal, operation and key: what the key means nothing beyond.
    pub lookup: String,
    /// Of all that must be the same when it is sent again.
    pub fingerprint: String,
    /// Whose it is, and goes with.
    pub tenant: Option<Tenant>,
    /// Who asks.
    pub principal: String,
}

/// What a request with a key may do.
#[derive(Debug)]
pub enum Claimed {
    /// Run: it is the only one.
    Ours(KeyClaim),
    /// Be answered as it was before.
    Answered {
        /// The HTTP status.
        status: u16,
        /// The body, without secrets.
        body: String,
    },
    /// Wait: it runs already.
    Unfinished,
    /// Nothing: the key is that of another request.
    Reused,
}

/// Leave to run, until it is dropped.
#[derive(Debug)]
pub struct KeyClaim {
    /// What it makes is made by.
    pub attempt: Attempt,
    running: Running,
}

/// The tries that run in this process. A row of this gateway that is not among them was left by a crash.
#[derive(Debug, Clone, Default)]
pub(super) struct Running(Arc<Mutex<HashSet<String>>>);

impl Running {
    fn ids(&self) -> MutexGuard<'_, HashSet<String>> {
        // A set has no state between statements that a panic could break.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// None if it runs.
    fn enter(&self, id: String, is_again: bool) -> Option<KeyClaim> {
        let entered = self.ids().insert(id.clone());
        entered.then(|| KeyClaim { attempt: Attempt::new(id, is_again), running: self.clone() })
    }
}

impl Drop for KeyClaim {
    fn drop(&mut self) {
        self.running.ids().remove(self.attempt.id());
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    fingerprint: String,
    gateway: String,
    gateway_seen_ms: i64,
    status: Option<i64>,
    answer: Option<String>,
}

impl Store {
    /// Whether the request may run. An answer is good for as long as `kept`.
    pub async fn claim_key(&self, request: &KeyedRequest, kept: Duration) -> Result<Claimed> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM idempotency_keys WHERE lookup = $1 AND answer IS NOT NULL AND created_ms <= $2")
            .bind(&request.lookup)
            .bind(self.before(kept))
            .execute(&mut *tx)
            .await?;
        let id = (self.world.new_id)();
        let inserted = sqlx::query(
            "INSERT INTO idempotency_keys (id, lookup, fingerprint, tenant_id, principal, gateway, created_ms)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (lookup) DO NOTHING",
        )
        .bind(&id)
        .bind(&request.lookup)
        .bind(&request.fingerprint)
        .bind(request.tenant.as_ref().map(|tenant| &tenant.id))
        .bind(&request.principal)
        .bind(&*self.gateway)
        .bind(self.world.now_ms())
        .execute(&mut *tx)
        .await?;
        let claim = if inserted.rows_affected() == 1 {
            self.running.enter(id, false)
        } else {
            let row: Row = sqlx::query_as(
                "SELECT k.id, k.fingerprint, k.gateway, k.status, k.answer, COALESCE(g.seen_ms, 0) AS gateway_seen_ms
                 FROM idempotency_keys k LEFT JOIN gateways g ON g.id = k.gateway WHERE k.lookup = $1",
            )
            .bind(&request.lookup)
            .fetch_one(&mut *tx)
            .await?;
            if row.fingerprint != request.fingerprint {
                return Ok(Claimed::Reused);
            }
            if let (Some(status), Some(body)) = (row.status.and_then(|status| status.try_into().ok()), row.answer) {
                return Ok(Claimed::Answered { status, body });
            }
            if row.gateway != *self.gateway && row.gateway_seen_ms > self.living_since(&mut *tx).await? {
                return Ok(Claimed::Unfinished);
            }
            // Nobody works on it: the gateway that did is dead, or the try ended without anybody knowing how.
            let Some(claim) = self.running.enter(row.id, true) else { return Ok(Claimed::Unfinished) };
            sqlx::query("UPDATE idempotency_keys SET gateway = $1 WHERE id = $2")
                .bind(&*self.gateway)
                .bind(claim.attempt.id())
                .execute(&mut *tx)
                .await?;
            Some(claim)
        };
        tx.commit().await?;
        Ok(claim.map_or(Claimed::Unfinished, Claimed::Ours))
    }

    /// The try succeeded, with this answer.
    pub async fn record_answer(&self, claim: &KeyClaim, status: u16, body: &str) -> Result<()> {
        sqlx::query("UPDATE idempotency_keys SET status = $1, answer = $2 WHERE id = $3 AND gateway = $4")
            .bind(i64::from(status))
            .bind(body)
            .bind(claim.attempt.id())
            .bind(&*self.gateway)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The try was refused and did nothing: the next one is the first again.
    pub async fn release_key(&self, claim: &KeyClaim) -> Result<()> {
        sqlx::query("DELETE FROM idempotency_keys WHERE id = $1 AND gateway = $2 AND answer IS NULL")
            .bind(claim.attempt.id())
            .bind(&*self.gateway)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The try ended and nobody knows how: the next one looks for what it made.
    pub async fn abandon_key(&self, claim: &KeyClaim) -> Result<()> {
        abandon(&mut *self.pool.acquire().await?, &self.gateway, claim.attempt.id()).await
    }

    /// Tells the other gateways which tries of this one ended without a word.
    pub async fn abandon_lost_keys(&self) -> Result<()> {
        let ours: Vec<String> =
            sqlx::query_scalar("SELECT id FROM idempotency_keys WHERE gateway = $1 AND answer IS NULL")
                .bind(&*self.gateway)
                .fetch_all(&self.pool)
                .await?;
        for id in ours {
            // Within a transaction, as claims are: none is made between the look and the change.
            let mut tx = self.begin().await?;
            if !self.running.ids().contains(&id) {
                abandon(&mut tx, &self.gateway, &id).await?;
            }
            tx.commit().await?;
        }
        Ok(())
    }

    /// Forgets keys that are older than `kept`, and beyond `most` each tenant's oldest of those that nobody works on.
    pub async fn forget_old_keys(&self, kept: Duration, most: u32) -> Result<()> {
        sqlx::query(
            "DELETE FROM idempotency_keys
             WHERE created_ms <= $1
               AND (answer IS NOT NULL OR gateway NOT IN (SELECT id FROM gateways WHERE seen_ms > $2))",
        )
        .bind(self.before(kept))
        .bind(self.living_since(&self.pool).await?)
        .execute(&self.pool)
        .await?;
        sqlx::query(
            "DELETE FROM idempotency_keys WHERE id IN (
                 SELECT id FROM (
                     SELECT id, ROW_NUMBER() OVER (PARTITION BY COALESCE(tenant_id, '') ORDER BY created_ms DESC, id)
                                AS number
                     FROM idempotency_keys WHERE answer IS NOT NULL OR gateway = ''
                 ) AS numbered WHERE number > $1
             )",
        )
        .bind(i64::from(most))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    fn before(&self, kept: Duration) -> i64 {
        self.world.now_ms().saturating_sub(i64::try_from(kept.as_millis()).unwrap_or(i64::MAX))
    }
}

async fn abandon(conn: &mut AnyConnection, gateway: &str, id: &str) -> Result<()> {
    sqlx::query("UPDATE idempotency_keys SET gateway = '' WHERE id = $1 AND gateway = $2 AND answer IS NULL")
        .bind(id)
        .bind(gateway)
        .execute(conn)
        .await?;
    Ok(())
}
