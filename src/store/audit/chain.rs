//! One gateway's chain in the store.
//!
//! Rows are written at once, so that they are there for everybody and outlive this process, and on the disk a moment
//! later: with the next transaction that waits for the disk, which on both databases takes along all that was written
//! before it. What changes the store is never on the disk before its entry.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Any, AnyConnection, AnyPool, Connection, Executor, Transaction};

use super::record::{COLUMN_COUNT, COLUMNS, Record, Row, genesis};
use crate::domain::{Error, Kind, Result};
use crate::store::POSTGRES_LOCK;

/// How long one transaction may take.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a connection may take to say that it is still one.
const PROOF_PATIENCE: Duration = Duration::from_secs(2);

/// Which intent an outcome is of.
pub(super) enum Intent {
    /// The one at this place.
    At(i64),
    /// One that is written together with it, by its position.
    InBatch(usize),
}

/// Where a chain ends.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Head {
    /// The gateway's identifier.
    pub chain: String,
    /// The number of its last row.
    pub sequence: i64,
    /// That row's hash.
    pub hash: String,
}

/// A connection of the writer's own: how far it waits for the disk would be wrong for others.
#[derive(Default)]
pub(super) struct Line {
    connection: Option<AnyConnection>,
    waits_for_disk: bool,
}

#[derive(Clone)]
pub(super) struct Chain {
    pub pool: AnyPool,
    pub is_postgres: bool,
    pub id: Arc<str>,
    pub installation: String,
}

impl Chain {
    /// Adds rows at the end, all or none, and waits for the disk or not. Where the end is, is read each time: the command
    /// line adds to the same chain. Whatever fails or takes too long costs the line: a connection that was lost without a
    /// word would be waited for each time.
    pub(super) async fn append(
        &self,
        line: &mut Line,
        records: Vec<(Record, Option<Intent>)>,
        copied: i64,
        waits_for_disk: bool,
    ) -> Result<Vec<Row>> {
        let appending = async {
            let tx = self.begin(line, waits_for_disk).await?;
            self.append_in(tx, records, copied).await
        };
        let late = |_| Err(Error::new(Kind::StoreDown, "the store takes too long"));
        let appended = tokio::time::timeout(PATIENCE, appending).await.unwrap_or_else(late);
        if appended.is_err() {
            *line = Line::default();
        }
        appended
    }

    /// Waits until all that was written is on the disk.
    pub(super) async fn reach_disk(&self, line: &mut Line) -> Result<()> {
        self.append(line, Vec::new(), 0, true).await.map(drop)
    }

    async fn begin<'l>(&self, line: &'l mut Line, waits_for_disk: bool) -> Result<Transaction<'l, Any>> {
        // One that broke while nothing happened is found here.
        if line.connection.is_none() || !self.is_ready(line, waits_for_disk).await {
            let connection = self.pool.acquire().await?.detach();
            // As connections are made.
            *line = Line { connection: Some(connection), waits_for_disk: true };
            self.is_ready(line, waits_for_disk).await;
        }
        let connection = line.connection.as_mut().ok_or_else(|| Error::internal("no connection"))?;
        if !self.is_postgres {
            return Ok(connection.begin_with("BEGIN IMMEDIATE").await?);
        }
        let mut tx = connection.begin().await?;
        tx.execute(POSTGRES_LOCK).await?;
        Ok(tx)
    }

    /// Lets the connection wait for the disk, or not. False if it is broken.
    async fn is_ready(&self, line: &mut Line, waits_for_disk: bool) -> bool {
        let Some(connection) = &mut line.connection else { return false };
        if line.waits_for_disk == waits_for_disk && !self.is_postgres {
            return true;
        }
        line.waits_for_disk = waits_for_disk;
        let setting = match (self.is_postgres, waits_for_disk) {
            (true, true) => "SET synchronous_commit = on",
            (true, false) => "SET synchronous_commit = off",
            (false, true) => "PRAGMA synchronous = FULL",
            (false, false) => "PRAGMA synchronous = NORMAL",
        };
        tokio::time::timeout(PROOF_PATIENCE, connection.execute(setting)).await.is_ok_and(|set| set.is_ok())
    }

    async fn append_in(
        &self,
        mut tx: Transaction<'_, Any>,
        records: Vec<(Record, Option<Intent>)>,
        copied: i64,
    ) -> Result<Vec<Row>> {
        let head: Option<(i64, String)> = sqlx::query_as("SELECT sequence, hash FROM audit_chains WHERE chain = $1")
            .bind(&*self.id)
            .fetch_optional(&mut *tx)
            .await?;
        let (before, mut previous) = head.unwrap_or_else(|| (0, genesis(&self.installation, &self.id)));
        let (mut rows, mut sequence): (Vec<Row>, i64) = (Vec::with_capacity(records.len()), before);
        for (mut record, intent) in records {
            sequence += 1;
            record.intent = match intent {
                Some(Intent::At(sequence)) => Some(sequence),
                Some(Intent::InBatch(position)) => i64::try_from(position).ok().map(|position| before + 1 + position),
                None => record.intent,
            };
            let row = Row::place(record, &self.id, sequence, &previous);
            previous.clone_from(&row.hash);
            rows.push(row);
        }
        if !rows.is_empty() {
            insert(&mut tx, &rows).await?;
        }
        sqlx::query(
            "INSERT INTO audit_chains (chain, sequence, hash, copied) VALUES ($1, $2, $3, $4)
             ON CONFLICT (chain) DO UPDATE
             SET sequence = excluded.sequence, hash = excluded.hash,
                 copied = CASE WHEN excluded.copied > audit_chains.copied THEN excluded.copied ELSE audit_chains.copied END",
        )
        .bind(&*self.id)
        .bind(sequence)
        .bind(&previous)
        .bind(copied)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(rows)
    }

    /// The next rows after this place.
    pub(super) async fn after(&self, sequence: i64, limit: i64) -> Result<Vec<Row>> {
        rows_after(&self.pool, &self.id, sequence, limit).await
    }

    /// How far the copy came before.
    pub(super) async fn copied(&self) -> Result<i64> {
        let copied: Option<i64> = sqlx::query_scalar("SELECT copied FROM audit_chains WHERE chain = $1")
            .bind(&*self.id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(copied.unwrap_or(0))
    }

    /// Notes how far the copy has come.
    pub(super) async fn note_copied(&self, sequence: i64) -> Result<()> {
        sqlx::query("UPDATE audit_chains SET copied = $1 WHERE chain = $2 AND copied < $1")
            .bind(sequence)
            .bind(&*self.id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

/// A chain's next rows after this place.
pub(super) async fn rows_after(
    from: impl Executor<'_, Database = Any>,
    chain: &str,
    sequence: i64,
    limit: i64,
) -> Result<Vec<Row>> {
    let text = sqlx::AssertSqlSafe(format!(
        "SELECT {COLUMNS} FROM audit_log WHERE chain = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"
    ));
    Ok(sqlx::query_as(text).bind(chain).bind(sequence).bind(limit).fetch_all(from).await?)
}

async fn insert(conn: &mut AnyConnection, rows: &[Row]) -> Result<()> {
    let numbers = |row: usize| {
        let first = row * COLUMN_COUNT;
        (1..=COLUMN_COUNT).map(|column| format!("${}", first + column)).collect::<Vec<_>>().join(", ")
    };
    let values = (0..rows.len()).map(|row| format!("({})", numbers(row))).collect::<Vec<_>>().join(", ");
    let mut query = sqlx::query(sqlx::AssertSqlSafe(format!("INSERT INTO audit_log ({COLUMNS}) VALUES {values}")));
    for row in rows {
        query = query
            .bind(&row.chain)
            .bind(row.sequence)
            .bind(row.time_ms)
            .bind(&row.phase)
            .bind(&row.actor)
            .bind(&row.actor_id)
            .bind(&row.key_id)
            .bind(&row.tenant)
            .bind(&row.tenant_id)
            .bind(&row.verb)
            .bind(&row.object_kind)
            .bind(&row.object)
            .bind(&row.object_id)
            .bind(&row.source)
            .bind(&row.request_id)
            .bind(&row.argv)
            .bind(&row.detail)
            .bind(&row.reason)
            .bind(row.intent)
            .bind(&row.outcome)
            .bind(row.status)
            .bind(row.duration_ms)
            .bind(&row.previous)
            .bind(&row.hash);
    }
    let done = query.execute(conn).await?;
    if done.rows_affected() == rows.len() as u64 {
        return Ok(());
    }
    Err(Error::new(Kind::StoreDown, "rows of the audit log were not written"))
}
