//! The keys that sign tokens: in the store, so that every gateway over it takes what any of them signed.

use super::{Entry, Store};
use crate::domain::Result;

/// An Ed25519 key.
pub struct SigningKey {
    /// The `kid` of its tokens.
    pub id: String,
    /// PKCS#8 PEM.
    pub private_pem: String,
}

impl Store {
    /// Makes `new_pem` the first key, if there is none yet.
    pub async fn found_signing_key(&self, new_pem: &str) -> Result<()> {
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO signing_keys (id, private_pem, created_ms)
             SELECT $1, $2, $3 FROM installation WHERE NOT EXISTS (SELECT 1 FROM signing_keys)",
        )
        .bind((self.world.new_id)())
        .bind(new_pem)
        .bind(self.world.now_ms())
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Adds a key that signs from now on. The others verify for `overlap_ms` more.
    pub async fn rotate_signing_key(&self, new_pem: &str, overlap_ms: i64, entry: &Entry) -> Result<String> {
        let (id, now) = ((self.world.new_id)(), self.world.now_ms());
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM signing_keys WHERE retires_ms <= $1").bind(now).execute(&mut *tx).await?;
        sqlx::query("UPDATE signing_keys SET retires_ms = $1 WHERE retires_ms IS NULL")
            .bind(now + overlap_ms)
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO signing_keys (id, private_pem, created_ms) VALUES ($1, $2, $3)")
            .bind(&id)
            .bind(new_pem)
            .bind(now)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        entry.identify(&id);
        Ok(id)
    }

    /// The keys that verify now, the one that signs first.
    pub async fn signing_keys(&self) -> Result<Vec<SigningKey>> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT id, private_pem FROM signing_keys WHERE retires_ms IS NULL OR retires_ms > $1
             ORDER BY COALESCE(retires_ms, 9223372036854775807) DESC",
        )
        .bind(self.world.now_ms())
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|(id, private_pem)| SigningKey { id, private_pem }).collect())
    }
}
