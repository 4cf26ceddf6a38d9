//! When containers go by themselves.

use std::time::Duration;

use super::containers::{Row, select_containers};
use super::{AT_ONCE, Container, Store, marks};
use crate::domain::{Error, Kind, Result};

/// Of the container `$1`: that its time has come at `$2`.
macro_rules! is_due {
    () => {
        "id = $1 AND state = 'ready' AND (expires_ms <= $2 OR touched_ms + idle_seconds * 1000 <= $2)"
    };
}

impl Store {
    /// The container was used now.
    pub async fn touch_container(&self, row: &Container) -> Result<()> {
        sqlx::query("UPDATE containers SET touched_ms = $1 WHERE id = $2")
            .bind(self.world.now_ms())
            .bind(&row.id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The same of these, by our identifiers.
    pub async fn touch_containers(&self, ids: &[String]) -> Result<()> {
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        for some in ids.chunks(AT_ONCE) {
            let (marks, ids) = marks(2, some);
            let touch = format!("UPDATE containers SET touched_ms = $1 WHERE id IN ({marks})");
            let touch = sqlx::query(sqlx::AssertSqlSafe(touch)).bind(self.world.now_ms());
            ids.into_iter().fold(touch, |touch, id| touch.bind(id)).execute(&self.pool).await?;
        }
        Ok(())
    }

    /// The container goes that long from now, or not by itself. Gives the new time, milliseconds since 1970. `Conflict` if
    /// it is going.
    pub async fn renew_container(&self, row: &Container, expires_in: Option<Duration>) -> Result<Option<i64>> {
        let now = self.world.now_ms();
        let expires_ms = expires_in.map(|time| now.saturating_add(i64::try_from(time.as_millis()).unwrap_or(i64::MAX)));
        let renewed = "UPDATE containers SET expires_ms = $1, touched_ms = $2 WHERE id = $3 AND state <> 'removing'";
        let renewed = sqlx::query(renewed).bind(expires_ms).bind(now).bind(&row.id).execute(&self.pool).await?;
        if renewed.rows_affected() == 0 {
            return Err(Error::new(Kind::Conflict, "the container is being removed"));
        }
        Ok(expires_ms)
    }

    /// Every tenant's containers whose time has come.
    pub async fn expired_containers(&self) -> Result<Vec<Container>> {
        let rows: Vec<Row> = sqlx::query_as(select_containers!(
            "WHERE c.state = 'ready' AND (c.expires_ms <= $1 OR c.touched_ms + c.idle_seconds * 1000 <= $1)
             ORDER BY c.created_ms, c.id"
        ))
        .bind(self.world.now_ms())
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::into_container).collect()
    }

    /// Whether the container's time has come.
    pub async fn is_expired(&self, row: &Container) -> Result<bool> {
        let text = concat!("SELECT 1 FROM containers WHERE ", is_due!());
        let expired = sqlx::query_scalar(text).bind(&row.id).bind(self.world.now_ms());
        let expired: Option<i64> = expired.fetch_optional(&self.pool).await?;
        Ok(expired.is_some())
    }

    /// The container is to go, if its time has come. Whether it is.
    pub async fn mark_expired(&self, row: &Container) -> Result<bool> {
        let text = concat!("UPDATE containers SET state = 'removing', gateway = $3 WHERE ", is_due!());
        let marked = sqlx::query(text).bind(&row.id).bind(self.world.now_ms()).bind(&*self.gateway);
        Ok(marked.execute(&self.pool).await?.rows_affected() > 0)
    }
}
