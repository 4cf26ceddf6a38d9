//! What tenants have on the disk: measured now and then, not counted.

use sqlx::AnyConnection;

use super::{Container, Store, Usage, Volume};
use crate::domain::{Resource, Result, Tenant};

impl Store {
    /// Notes how much a container stores. What its tenant stores in all now, and how much more this container does; none
    /// if the container is forgotten.
    pub async fn set_container_stored(&self, row: &Container, bytes: i64) -> Result<Option<(Usage, i64)>> {
        let mut tx = self.begin().await?;
        let before: Option<i64> = sqlx::query_scalar("SELECT stored_bytes FROM containers WHERE id = $1")
            .bind(&row.id)
            .fetch_optional(&mut *tx)
            .await?;
        let Some(before) = before else { return Ok(None) };
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

    async fn add_stored(&self, conn: &mut AnyConnection, tenant: &Tenant, more: i64) -> Result<Usage> {
        let default = self.default_quota(Resource::StoredBytes);
        let (used, limit): (i64, i64) = sqlx::query_as(
            "INSERT INTO quotas (tenant_id, resource, used) VALUES ($1, $2, $3)
             ON CONFLICT (tenant_id, resource) DO UPDATE SET used = quotas.used + $3
             RETURNING used, COALESCE(maximum, $4)",
        )
        .bind(&tenant.id)
        .bind(Resource::StoredBytes.as_str())
        .bind(more)
        .bind(default)
        .fetch_one(conn)
        .await?;
        Ok(Usage { resource: Resource::StoredBytes, limit, used })
    }
}
