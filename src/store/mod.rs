//! The database: tenants, accounts, and the ledger that says who owns which container.
//!
//! Methods on a tenant's data take the tenant first. Every write that reads first begins immediate, so that two
//! gateways or a gateway and the command line never both act on the same reading.

mod accounts;
mod containers;
mod quotas;
mod reserve;
mod stored;
mod tenants;
mod volumes;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Sqlite, Transaction};

use crate::domain::{Error, Kind, Result, World};

pub use accounts::Account;
pub use containers::{Container, Promised, State};
pub use quotas::{DefaultQuotas, Usage, exceeded};
pub use reserve::Reservation;
pub use tenants::ImagePolicy;
pub use volumes::Volume;

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// A handle on the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: SqlitePool,
    default_quotas: Arc<DefaultQuotas>,
    world: World,
}

impl Store {
    /// Opens the database at `path`, makes it if it is missing, and brings its schema up to date.
    ///
    /// The file is for its owner only: it holds password hashes.
    pub async fn open(path: &Path, default_quotas: DefaultQuotas, world: World) -> Result<Self> {
        private_file(path).map_err(|error| {
            Error::new(Kind::StoreDown, "the store cannot be opened").because(format!("{}: {error}", path.display()))
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(5));
        let pool = pool.connect_with(options).await?;
        MIGRATIONS.run(&pool).await.map_err(|error| {
            Error::new(Kind::StoreDown, "the store's schema cannot be brought up to date").because(error)
        })?;
        let store = Self { pool, default_quotas: Arc::new(default_quotas), world };
        store.found_installation().await?;
        Ok(store)
    }

    async fn found_installation(&self) -> Result<()> {
        sqlx::query("INSERT INTO installation (only_row, id, created_ms) VALUES (1, $1, $2) ON CONFLICT DO NOTHING")
            .bind((self.world.new_id)())
            .bind(self.world.now_ms())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// This installation's identifier: 32 hex digits, made once.
    pub async fn installation(&self) -> Result<String> {
        Ok(sqlx::query_scalar("SELECT id FROM installation").fetch_one(&self.pool).await?)
    }

    /// The time as rows have it, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.world.now_ms()
    }

    async fn begin(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }
}

fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(drop)
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self::new(Kind::StoreDown, "the store is out of reach; try again").because(error)
    }
}

/// Whether a write failed because such a row exists already.
fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}
