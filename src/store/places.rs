//! Places among a tenant's running containers.

use sqlx::AnyConnection;

use super::{Container, Store};
use crate::domain::{EventKind, Resource, Result};

/// A place counts whenever it was taken.
const ANY: i64 = i64::MAX;

impl Store {
    /// The container is about to run: takes a place among the running. Whether it had none.
    pub async fn take_running(&self, row: &Container) -> Result<bool> {
        let mut tx = self.begin().await?;
        let taken = self.take_place(&mut tx, row).await?;
        if taken {
            self.take(&mut tx, &row.tenant.id, Resource::StoredBytes, 0).await?;
            self.take(&mut tx, &row.tenant.id, Resource::Running, 1).await?;
        }
        tx.commit().await?;
        Ok(taken)
    }

    /// The container was seen to run: the same, whatever the tenant may have, and it is told where it had no place.
    pub async fn note_running(&self, row: &Container) -> Result<()> {
        let mut tx = self.begin().await?;
        if self.take_place(&mut tx, row).await? {
            self.add(&mut tx, &row.tenant, Resource::Running, 1).await?;
            self.note(&mut tx, row, row.engine_id.as_ref(), EventKind::Started, None).await?;
        }
        tx.commit().await?;
        self.noted.notify_one();
        Ok(())
    }

    /// Says that it has a place, and from when; whether it had none.
    async fn take_place(&self, conn: &mut AnyConnection, row: &Container) -> Result<bool> {
        let taken = sqlx::query("UPDATE containers SET running = 1 WHERE id = $1 AND running = 0")
            .bind(&row.id)
            .execute(&mut *conn)
            .await?;
        sqlx::query("UPDATE containers SET placed_ms = $1 WHERE id = $2")
            .bind(self.world.now_ms())
            .bind(&row.id)
            .execute(&mut *conn)
            .await?;
        Ok(taken.rows_affected() > 0)
    }

    /// The container does not run: gives its place back. Fine if it has none.
    pub async fn give_back_running(&self, row: &Container) -> Result<()> {
        let mut tx = self.begin().await?;
        self.give_back_place(&mut tx, row, ANY).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Somebody stopped the container: the same, and it is told that it ended where it had a place, and that it was
    /// stopped where it ran.
    pub async fn note_stopped(&self, row: &Container, exit_code: Option<i64>) -> Result<()> {
        let mut tx = self.begin().await?;
        if self.give_back_place(&mut tx, row, ANY).await? {
            self.note(&mut tx, row, row.engine_id.as_ref(), EventKind::Died, exit_code).await?;
        }
        if row.running {
            self.note(&mut tx, row, row.engine_id.as_ref(), EventKind::Stopped, None).await?;
        }
        tx.commit().await?;
        self.noted.notify_one();
        Ok(())
    }

    /// The container was seen not to run: the same. One that took its place after this time, milliseconds since 1970, keeps
    /// it: somebody has begun to start it since, here or in another gateway.
    pub async fn note_end(&self, row: &Container, exit_code: Option<i64>, placed_until: i64) -> Result<()> {
        let mut tx = self.begin().await?;
        if self.give_back_place(&mut tx, row, placed_until).await? {
            self.note(&mut tx, row, row.engine_id.as_ref(), EventKind::Died, exit_code).await?;
        }
        tx.commit().await?;
        self.noted.notify_one();
        Ok(())
    }

    /// Whether it had a place, taken until then.
    async fn give_back_place(&self, conn: &mut AnyConnection, row: &Container, placed_until: i64) -> Result<bool> {
        let done = sqlx::query("UPDATE containers SET running = 0 WHERE id = $1 AND running = 1 AND placed_ms <= $2")
            .bind(&row.id)
            .bind(placed_until)
            .execute(&mut *conn)
            .await?;
        if done.rows_affected() == 0 {
            return Ok(false);
        }
        self.give_back(conn, &row.tenant.id, Resource::Running, 1).await?;
        Ok(true)
    }
}
