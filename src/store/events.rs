//! What happened to containers, for whoever listens, on whichever gateway.
//!
//! Numbers are each tenant's own, in the order in which things were noted: its row is locked from the number to the end
//! of the transaction.

use std::collections::HashMap;

use sqlx::AnyConnection;

use super::{Container, Store};
use crate::domain::{EngineId, Error, EventKind, Result, Tenant};

/// How long an event can be asked for, in milliseconds, and how many of one tenant.
const KEPT_MS: i64 = 3_600_000;
const KEPT: i64 = 10_000;

/// Something happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Of the tenant's, one after the other.
    pub number: i64,
    /// Milliseconds since 1970.
    pub at_ms: i64,
    /// What.
    pub kind: EventKind,
    /// The container's name.
    pub container: String,
    /// The 12 digits of its id.
    pub container_id: String,
    /// Of a main process that ended, if it is known.
    pub exit_code: Option<i64>,
}

type Row = (i64, i64, String, String, String, Option<i64>);

impl Store {
    /// Notes that something happened to a container.
    pub async fn note_event(&self, row: &Container, kind: EventKind) -> Result<()> {
        let mut tx = self.begin().await?;
        self.note(&mut tx, row, row.engine_id.as_ref(), kind, None).await?;
        tx.commit().await?;
        self.noted.notify_one();
        Ok(())
    }

    /// The same within the caller's transaction, who tells it after the commit.
    pub(super) async fn note(
        &self,
        conn: &mut AnyConnection,
        row: &Container,
        engine_id: Option<&EngineId>,
        kind: EventKind,
        exit_code: Option<i64>,
    ) -> Result<()> {
        let number: Option<i64> =
            sqlx::query_scalar("UPDATE tenants SET last_event = last_event + 1 WHERE id = $1 RETURNING last_event")
                .bind(&row.tenant.id)
                .fetch_optional(&mut *conn)
                .await?;
        let Some(number) = number else { return Ok(()) };
        sqlx::query(
            "INSERT INTO events (tenant_id, number, at_ms, kind, container, container_id, exit_code)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(&row.tenant.id)
        .bind(number)
        .bind(self.world.now_ms())
        .bind(kind.as_str())
        .bind(row.name.as_str())
        .bind(engine_id.map_or("", EngineId::short))
        .bind(exit_code)
        .execute(conn)
        .await?;
        Ok(())
    }

    /// Waits until this gateway noted something.
    pub async fn event_noted(&self) {
        self.noted.notified().await;
    }

    /// A tenant's next few events behind a number.
    pub async fn events_after(&self, tenant: &Tenant, number: i64, limit: i64) -> Result<Vec<Event>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT number, at_ms, kind, container, container_id, exit_code FROM events
             WHERE tenant_id = $1 AND number > $2 ORDER BY number LIMIT $3",
        )
        .bind(&tenant.id)
        .bind(number)
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let event = |(number, at_ms, kind, container, container_id, exit_code): Row| {
            let kind = kind.parse().map_err(Error::internal)?;
            Ok(Event { number, at_ms, kind, container, container_id, exit_code })
        };
        rows.into_iter().map(event).collect()
    }

    /// The number of the last event of each of these tenants.
    pub async fn last_events(&self, tenant_ids: &[&str]) -> Result<HashMap<String, i64>> {
        let mut found = HashMap::new();
        for some in tenant_ids.chunks(super::AT_ONCE) {
            let (marks, ids) = super::marks(1, some);
            let text = sqlx::AssertSqlSafe(format!("SELECT id, last_event FROM tenants WHERE id IN ({marks})"));
            let mut query = sqlx::query_as::<_, (String, i64)>(text);
            for id in ids {
                query = query.bind(id);
            }
            found.extend(query.fetch_all(&self.pool).await?);
        }
        Ok(found)
    }

    /// Forgets events that are old, or many.
    pub async fn forget_old_events(&self) -> Result<()> {
        sqlx::query(
            "DELETE FROM events
             WHERE at_ms < $1 OR number <= (SELECT t.last_event FROM tenants t WHERE t.id = events.tenant_id) - $2",
        )
        .bind(self.world.now_ms() - KEPT_MS)
        .bind(KEPT)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}
