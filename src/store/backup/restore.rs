//! A backup into the store: all of it in one transaction, or nothing.

use sqlx::{AssertSqlSafe, Executor, Transaction};

use super::rows::{self, Writer};
use super::schema::{Table, tables};
use super::scratch::Scratch;
use crate::domain::{Error, Kind, Result};
use crate::store::Store;

/// How to restore.
#[derive(Debug, Clone, Copy, Default)]
pub struct RestoreOptions {
    /// Whether what the store holds may go.
    pub replace: bool,
    /// Whether everybody has to sign in anew.
    pub end_sessions: bool,
}

/// What a restore came to.
#[derive(Debug)]
pub struct Restored {
    /// Rows that the store has now.
    pub rows: u64,
    /// When the backup was made, milliseconds since 1970.
    pub made_ms: i64,
    /// The installation that the store belonged to before, if it was another one.
    pub other_installation: Option<String>,
}

/// Tables that a new store has rows in, too.
const FOUNDED: &[&str] = &["installation", "signing_keys", "gateways"];

/// Ids are given in blocks to tenants; how many tenants may have been made between a backup and its restore.
const BLOCKS_IN_DOUBT: i64 = 4096;

impl Store {
    /// Puts a backup in place of what the store holds. `Conflict` while a gateway works on it, and where it holds something
    /// that may not go.
    pub async fn restore(&self, scratch: &Scratch, options: RestoreOptions) -> Result<Restored> {
        let before = self.installation().await?;
        let mut tx = self.begin().await?;
        self.take_time(&mut tx).await?;
        let all = tables(&mut tx, self.is_postgres).await?;
        if self.is_postgres {
            let names: Vec<String> = all.iter().map(|table| format!("\"{}\"", table.name)).collect();
            let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", names.join(", "));
            tx.execute(AssertSqlSafe(lock)).await?;
        }
        self.nobody_works_here(&mut tx).await?;
        if !options.replace {
            is_empty(&mut tx, &all).await?;
        }
        for table in all.iter().rev() {
            tx.execute(AssertSqlSafe(format!("DELETE FROM \"{}\"", table.name))).await?;
        }
        let mut rows = 0;
        let mut from = scratch.store.pool.acquire().await?;
        let filled = tables(&mut from, false).await?;
        for table in &all {
            let same = filled.iter().find(|other| other.name == table.name);
            let same = same.ok_or_else(|| Error::internal(format!("the schemas differ in {}", table.name)))?;
            let mut writer = Writer::into(same);
            rows::each_row(&mut from, same, async |row| {
                rows += 1;
                writer.push(&mut tx, row).await
            })
            .await?;
            writer.flush(&mut tx).await?;
        }
        self.let_time_stand_still(&mut tx, scratch.made_ms).await?;
        if options.end_sessions {
            tx.execute("UPDATE accounts SET epoch = epoch + 1").await?;
        }
        tx.commit().await?;
        let now = self.installation().await?;
        Ok(Restored { rows, made_ms: scratch.made_ms, other_installation: (before != now).then_some(before) })
    }

    /// Our own gateway's absence is known by the lock of its data directory.
    async fn nobody_works_here(&self, tx: &mut Transaction<'static, sqlx::Any>) -> Result<()> {
        let living: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM gateways WHERE id <> $1 AND seen_ms > $2")
            .bind(&*self.gateway)
            .bind(self.living_since(&mut **tx).await?)
            .fetch_one(&mut **tx)
            .await?;
        if living == 0 {
            return Ok(());
        }
        let message = format!("{living} gateway(s) worked on this store within the last 15 seconds; stop them first");
        Err(Error::new(Kind::Conflict, message))
    }

    /// Nothing goes because of the restore: containers have as much time left as they had when the backup was made, and what
    /// Podman has that these records do not know stays until the operator says otherwise. Until then new tenants get no
    /// user ids that one of those made since may have.
    async fn let_time_stand_still(&self, tx: &mut Transaction<'static, sqlx::Any>, made_ms: i64) -> Result<()> {
        let age = self.now_ms().saturating_sub(made_ms).max(0);
        sqlx::query("UPDATE containers SET expires_ms = expires_ms + $1, touched_ms = touched_ms + $1")
            .bind(age)
            .execute(&mut **tx)
            .await?;
        sqlx::query(
            "UPDATE installation SET keeps_strays = $1 + (SELECT COALESCE(MAX(block), 0) FROM tenant_user_ids)",
        )
        .bind(BLOCKS_IN_DOUBT)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

async fn is_empty(tx: &mut Transaction<'static, sqlx::Any>, all: &[Table]) -> Result<()> {
    for table in all.iter().filter(|table| !FOUNDED.contains(&table.name.as_str())) {
        let found = AssertSqlSafe(format!("SELECT COUNT(*) FROM \"{}\"", table.name));
        let count: i64 = sqlx::query_scalar(found).fetch_one(&mut **tx).await?;
        if count > 0 {
            let message = format!("the store is not empty ({} has {count} rows); --replace lets it go", table.name);
            return Err(Error::new(Kind::Conflict, message));
        }
    }
    Ok(())
}
