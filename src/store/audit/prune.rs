//! Taking old rows away, so that what is left can still be verified.

use std::sync::Arc;

use super::chain::{Chain, Line};
use super::record::{Phase, Record};
use crate::domain::Result;
use crate::store::{Store, begin};

/// Rows that are taken away in one transaction.
const BITE: i64 = 1000;

impl Store {
    /// Takes away rows from before then, milliseconds since 1970: this gateway's, and those of gateways that are dead. How
    /// many.
    pub async fn prune_audit(&self, before_ms: i64) -> Result<u64> {
        let chains: Vec<String> = sqlx::query_scalar(
            "SELECT chain FROM audit_chains WHERE chain NOT IN (SELECT id FROM gateways WHERE id <> $1 AND seen_ms > $2)",
        )
        .bind(&*self.gateway)
        .bind(self.living_since(&self.pool).await?)
        .fetch_all(&self.pool)
        .await?;
        let mut gone = 0;
        for chain in chains {
            gone += self.prune_chain(&chain, before_ms).await?;
        }
        Ok(gone)
    }

    /// A checkpoint in the chain says first how far it goes, and what the last of the old rows was.
    async fn prune_chain(&self, chain: &str, before_ms: i64) -> Result<u64> {
        // All before the first that stays. One stays in any case: the end of the chain.
        let last: Option<(i64, String)> = sqlx::query_as(
            "SELECT sequence, hash FROM audit_log
             WHERE chain = $1 AND sequence < (
                 SELECT COALESCE(MIN(sequence), (SELECT MAX(sequence) FROM audit_log WHERE chain = $1))
                 FROM audit_log WHERE chain = $1 AND time_ms >= $2
             ) ORDER BY sequence DESC LIMIT 1",
        )
        .bind(chain)
        .bind(before_ms)
        .fetch_optional(&self.pool)
        .await?;
        let Some((upto, hash)) = last else { return Ok(0) };
        let record = Record {
            phase: Phase::Checkpoint,
            actor: Some("system".into()),
            verb: Some("pruneAudit".into()),
            detail: Some(format!("{upto}:{hash}")),
            reason: Some("older than audit.keep_days".into()),
            ..Record::default()
        };
        if chain == &*self.gateway {
            self.audit.queue.announce(record, false).await?;
        } else {
            let chain = Chain { id: Arc::from(chain), ..Chain::clone(&self.audit.chain) };
            let record = Record { time_ms: self.now_ms(), ..record };
            chain.append(&mut Line::default(), vec![(record, None)], 0, true).await?;
        }
        self.delete_upto(chain, upto).await
    }

    async fn delete_upto(&self, chain: &str, upto: i64) -> Result<u64> {
        let mut gone = 0;
        loop {
            let mut tx = begin(&self.pool, self.is_postgres).await?;
            let done = sqlx::query(
                "DELETE FROM audit_log WHERE chain = $1 AND sequence <= $2 AND sequence < $3 + (
                     SELECT MIN(sequence) FROM audit_log WHERE chain = $1
                 )",
            )
            .bind(chain)
            .bind(upto)
            .bind(BITE)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            gone += done.rows_affected();
            if done.rows_affected() == 0 {
                return Ok(gone);
            }
        }
    }
}
