//! What tenants have on the disk: measured now and then, not counted.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Container, Store, Usage, Volume};
use crate::domain::{Error, Measured, Resource, Result, Tenant};

/// Bytes that Podman itself writes into what is new, at most. Finding them is no sign that somebody writes.
const BEGINNING: i64 = 1024 * 1024;

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
    /// Notes how much a container stores, beside what is on its way there; where that is not all of it, not less than is
    /// known. What its tenant stores in all now, if this container stores more than before, or maybe does.
    pub async fn set_container_stored(&self, row: &Container, stored: Measured) -> Result<Option<Usage>> {
        let before = "SELECT stored_bytes FROM containers WHERE id = $1";
        let set = "UPDATE containers SET stored_bytes = $1 WHERE id = $2";
        self.set_stored((before, set), &row.tenant, &row.id, stored).await
    }

    /// Notes how much a volume stores. The same of it.
    pub async fn set_volume_stored(&self, volume: &Volume, stored: Measured) -> Result<Option<Usage>> {
        let before = "SELECT stored_bytes FROM volumes WHERE id = $1";
        let set = "UPDATE volumes SET stored_bytes = $1 WHERE id = $2";
        self.set_stored((before, set), &volume.tenant, &volume.id, stored).await
    }

    async fn set_stored(
        &self,
        (before, set): (&'static str, &'static str),
        tenant: &Tenant,
        id: &str,
        stored: Measured,
    ) -> Result<Option<Usage>> {
        let mut tx = self.begin().await?;
        let before: Option<i64> = sqlx::query_scalar(before).bind(id).fetch_optional(&mut *tx).await?;
        let Some(before) = before else { return Ok(None) };
        let found = stored.bytes.saturating_add(self.in_flight.of(id));
        let bytes = if stored.is_whole { found } else { found.max(before) };
        if bytes == before && stored.is_whole {
            return Ok(None);
        }
        sqlx::query(set).bind(bytes).bind(id).execute(&mut *tx).await?;
        let usage = self.add(&mut tx, tenant, Resource::StoredBytes, bytes - before).await?;
        tx.commit().await?;
        let is_new = before == 0 && bytes <= BEGINNING;
        Ok(Some(usage).filter(|_| (bytes > before && !is_new) || !stored.is_whole))
    }

    /// `Quota` if the tenant stores more than it may.
    pub async fn check_stored(&self, tenant: &Tenant) -> Result<()> {
        let mut conn = self.pool.acquire().await?;
        self.take(&mut conn, &tenant.id, Resource::StoredBytes, 0).await
    }

    /// Takes bytes that a container is about to store. `Quota` if there are not so many left, `NotFound` if the container
    /// is forgotten: nobody would give them back.
    pub async fn charge_stored(&self, row: &Container, bytes: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        self.take(&mut tx, &row.tenant.id, Resource::StoredBytes, bytes).await?;
        let taken = sqlx::query("UPDATE containers SET stored_bytes = stored_bytes + $1 WHERE id = $2")
            .bind(bytes)
            .bind(&row.id)
            .execute(&mut *tx)
            .await?;
        if taken.rows_affected() == 0 {
            return Err(Error::no_container());
        }
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
}
