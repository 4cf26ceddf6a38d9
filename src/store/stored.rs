//! What tenants have on the disk: measured now and then, not counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::AnyConnection;

use super::{Container, Store, Usage, Volume};
use crate::domain::{Resource, Result, Tenant};

/// Bytes on their way into containers, by row: whoever measures does not find them yet. Of this gateway; those of
/// another are forgotten by a measurement, and counted again by the next.
#[derive(Clone, Default)]
pub(super) struct InFlight(Arc<Mutex<HashMap<String, i64>>>);

impl InFlight {
    fn of(&self, row_id: &str) -> i64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(row_id).copied().unwrap_or_default()
    }

    fn add(&self, row_id: &str, bytes: i64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = all.get(row_id).copied().unwrap_or_default() + bytes;
        if now > 0 {
            all.insert(row_id.to_owned(), now)
        } else {
            all.remove(row_id)
        };
    }
}

impl Store {
    /// Notes how much a container stores, beside what is on its way there. What its tenant stores in all now, and how much more this container does; none
    /// if the container is forgotten.
    pub async fn set_container_stored(&self, row: &Container, bytes: i64) -> Result<Option<(Usage, i64)>> {
        let mut tx = self.begin().await?;
        let before: Option<i64> = sqlx::query_scalar("SELECT stored_bytes FROM containers WHERE id = $1")
            .bind(&row.id)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(before) = before else { return Ok(None) };
        let bytes = bytes.saturating_add(self.in_flight.of(&row.id));
        sqlx::query("UPDATE containers SET stored_bytes = $1 WHERE id = $2")
            .bind(bytes)
            .bind(&row.id)
            .execute(&mut *tx)
            .await?;
        let usage = self.add_stored(&mut tx, &row.tenant, bytes - before).await?;
        tx.commit().await?;
        Ok(Some((usage, bytes - before)))
    }

    /// Notes how much a volume stores. Fine if it is forgotten.
    pub async fn set_volume_stored(&self, volume: &Volume, bytes: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        let before: Option<i64> = sqlx::query_scalar("SELECT stored_bytes FROM volumes WHERE id = $1")
            .bind(&volume.id)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(before) = before.filter(|before| *before != bytes) {
            sqlx::query("UPDATE volumes SET stored_bytes = $1 WHERE id = $2")
                .bind(bytes)
                .bind(&volume.id)
                .execute(&mut *tx)
                .await?;
            self.add_stored(&mut tx, &volume.tenant, bytes - before).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    /// `Quota` if the tenant stores more than it may.
    pub async fn check_stored(&self, tenant: &Tenant) -> Result<()> {
        let mut conn = self.pool.acquire().await?;
        self.take(&mut conn, &tenant.id, Resource::StoredBytes, 0).await
    }

    /// Takes bytes that a container is about to store. `Quota` if there are not so many left.
    pub async fn charge_stored(&self, row: &Container, bytes: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        self.take(&mut tx, &row.tenant.id, Resource::StoredBytes, bytes).await?;
        sqlx::query("UPDATE containers SET stored_bytes = stored_bytes + $1 WHERE id = $2")
            .bind(bytes)
            .bind(&row.id)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        self.in_flight.add(&row.id, bytes);
        Ok(())
    }

    /// Ends what was taken, and gives back all but what was stored; whatever a measurement in between did not find, the
    /// next one does.
    pub async fn discharge_stored(&self, row: &Container, taken: i64, stored: i64) -> Result<()> {
        self.in_flight.add(&row.id, -taken);
        let bytes = taken.saturating_sub(stored);
        if bytes <= 0 {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        let changed =
            sqlx::query("UPDATE containers SET stored_bytes = stored_bytes - $1 WHERE id = $2 AND stored_bytes >= $1")
                .bind(bytes)
                .bind(&row.id)
                .execute(&mut *tx)
                .await?;
        if changed.rows_affected() > 0 {
            self.give_back(&mut tx, &row.tenant.id, Resource::StoredBytes, bytes).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    async fn add_stored(&self, conn: &mut AnyConnection, tenant: &Tenant, more: i64) -> Result<Usage> {
        let default = self.default_quota(Resource::StoredBytes);
        // A row first: databases hold what an upsert would insert against the checks, and less is no amount.
        sqlx::query("INSERT INTO quotas (tenant_id, resource) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&tenant.id)
            .bind(Resource::StoredBytes.as_str())
            .execute(&mut *conn)
            .await?;
        let (used, limit): (i64, i64) = sqlx::query_as(
            "UPDATE quotas SET used = used + $3 WHERE tenant_id = $1 AND resource = $2
             RETURNING used, COALESCE(maximum, $4)",
        )
        .bind(&tenant.id)
        .bind(Resource::StoredBytes.as_str())
        .bind(more)
        .bind(default)
        .fetch_one(&mut *conn)
        .await?;
        Ok(Usage { resource: Resource::StoredBytes, limit, used })
    }
}
