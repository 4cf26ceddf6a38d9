//! Looking at a database without changing it: for `podgate doctor`.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyPool, ConnectOptions};

use super::gateways::POSTGRES_NOW;
use super::{MIGRATIONS, Store, sqlite_url};
use crate::config;
use crate::domain::{Error, Result};

/// How a database is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Examined {
    /// Steps that this program would still take to bring the schema up to date.
    pub pending: usize,
    /// Steps that this program does not know: a newer one made them.
    pub unknown: usize,
    /// When a gateway was last heard, milliseconds since 1970; 0 if never.
    pub last_heard_ms: i64,
    /// The database's own time, where it may be on another host.
    pub clock_ms: Option<i64>,
}

impl Store {
    /// Looks at the database, and tries whether it could be written. None if SQLite's file is not there.
    pub async fn examine(place: &config::Store) -> Result<Option<Examined>> {
        sqlx::any::install_default_drivers();
        let (url, is_postgres) = match place {
            config::Store::Sqlite(path) if !path.exists() => return Ok(None),
            config::Store::Sqlite(path) => (sqlite_url(path)? + "?mode=rw", false),
            config::Store::Postgres(url) => (url.expose().to_owned(), true),
        };
        let options = AnyConnectOptions::from_str(&url).map_err(|_| Error::invalid("store.url is wrong"))?;
        let pool = AnyPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(5));
        let pool = pool.connect_with(options.disable_statement_logging()).await?;
        try_to_write(&pool, is_postgres).await?;
        // A database without tables has no list of them, either.
        let done: Vec<i64> =
            sqlx::query_scalar("SELECT version FROM _sqlx_migrations").fetch_all(&pool).await.unwrap_or_default();
        let done: BTreeSet<i64> = done.into_iter().collect();
        let known: BTreeSet<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        let heard = sqlx::query_scalar("SELECT COALESCE(MAX(seen_ms), 0) FROM gateways").fetch_one(&pool).await;
        let clock_ms = if is_postgres { Some(sqlx::query_scalar(POSTGRES_NOW).fetch_one(&pool).await?) } else { None };
        Ok(Some(Examined {
            pending: known.difference(&done).count(),
            unknown: done.difference(&known).count(),
            last_heard_ms: heard.unwrap_or(0),
            clock_ms,
        }))
    }
}

/// Begins what would write, and goes back.
async fn try_to_write(pool: &AnyPool, is_postgres: bool) -> Result<()> {
    let tx = if is_postgres { pool.begin().await? } else { pool.begin_with("BEGIN IMMEDIATE").await? };
    tx.rollback().await?;
    Ok(())
}
