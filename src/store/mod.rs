//! The database: tenants, accounts, and the ledger that says who owns which container.
//!
//! SQLite or PostgreSQL, by one text of SQL: parameters are `$1`, types TEXT and BIGINT. Methods on a tenant's data take
//! the tenant first. What changes tenants, accounts and keys asks for the [`Entry`] that announced it; only a restore,
//! which replaces the log as well, is told after. Writes that read first come one after the other, so that two gateways, or a
//! gateway and the command line, never both act on the same reading.

mod account_change;
mod accounts;
mod api_keys;
mod audit;
mod backup;
mod census;
mod containers;
mod disallow;
mod events;
mod examine;
mod expiry;
mod foreign;
mod gateways;
mod idempotency;
mod keys;
mod places;
mod quotas;
mod reserve;
mod room;
mod sessions;
mod standing;
mod stored;
mod tenants;
mod tickets;
mod volumes;

use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Any, AnyPool, ConnectOptions, Connection, Executor, Transaction};
use tokio::sync::Notify;

use crate::config::{self, Live};
use crate::domain::{Attempt, Error, Kind, Result, World};
use crate::metrics::Metrics;

pub use account_change::AccountChange;
pub use accounts::{Account, AccountInfo, NewAccount, PLATFORM_IS_APART};
pub use api_keys::{ApiKey, KeyRecord, NewApiKey, Rotation, key_of_session, key_session};
pub use audit::{
    Asker, AuditCursor, AuditEntry, AuditFilter, AuditState, Course, Deed, Ended, Entry, Finding, Head, Noted, Object,
    Outcome, Report, Room, verify_copy,
};
pub use backup::{RestoreOptions, Restored, Scratch};
pub use census::Census;
pub use containers::{Container, Promised, State};
pub use disallow::Allowed;
pub use events::Event;
pub use foreign::{ForeignAccess, ForeignToken};
pub use idempotency::{Claimed, KeyClaim, KeyedRequest};
pub use keys::SigningKey;
pub use quotas::{DefaultQuotas, Usage, exceeded};
pub use reserve::Reservation;
pub use sessions::Refreshed;
pub use standing::Standing;
pub use tenants::{ImagePolicy, TenantMeans};
pub use tickets::Ticket;
pub use volumes::Volume;

/// How long a connection that was idle may take to say that it is still one.
const PROOF_PATIENCE: Duration = Duration::from_secs(1);

static MIGRATIONS: Migrator = sqlx::migrate!("src/store/migrations");

/// A handle on the database; cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: AnyPool,
    noted: Arc<Notify>,
    is_postgres: bool,
    gateway: Arc<str>,
    default_quotas: Live<DefaultQuotas>,
    running: idempotency::Running,
    in_flight: stored::InFlight,
    metrics: Metrics,
    audit: audit::Audit,
    clock_is_off: gateways::ClockIsOff,
    world: World,
}

impl Store {
    /// Opens the database, makes its file if it is missing, and brings its schema up to date. `gateway` is who we are.
    ///
    /// A file is for its owner only: it holds password hashes and keys.
    pub async fn open(
        place: &config::Store,
        gateway: String,
        default_quotas: DefaultQuotas,
        metrics: Metrics,
        world: World,
    ) -> Result<Self> {
        let store = Self::connect(place, gateway, default_quotas, metrics, world).await?;
        MIGRATIONS.run(&store.pool).await.map_err(|error| {
            let message = match error {
                MigrateError::VersionMissing(_) => {
                    "the store was made by a newer Podgate; run that one, or restore a backup"
                }
                _ => "the store's schema cannot be brought up to date",
            };
            Error::new(Kind::StoreDown, message).because(error)
        })?;
        let installation = found_installation(&store.pool, world).await?;
        let Self { pool, is_postgres, gateway, .. } = &store;
        let disk = store.audit.disk();
        let audit = audit::Audit::start(pool.clone(), *is_postgres, Arc::clone(gateway), installation, disk, world);
        Ok(Self { audit, ..store })
    }

    /// Opens a database that is there, and leaves its schema as it is: another program may work on it.
    pub async fn open_as_it_is(place: &config::Store, world: World) -> Result<Self> {
        if let config::Store::Sqlite(path) = place
            && !path.exists()
        {
            return Err(Error::new(Kind::NotFound, format!("there is no {}", path.display())));
        }
        Self::connect(place, String::new(), DefaultQuotas::new(), Metrics::new(), world).await
    }

    async fn connect(
        place: &config::Store,
        gateway: String,
        default_quotas: DefaultQuotas,
        metrics: Metrics,
        world: World,
    ) -> Result<Self> {
        let failed = |error: String| Error::new(Kind::StoreDown, "the store cannot be opened").because(error);
        sqlx::any::install_default_drivers();
        let mut pool = AnyPoolOptions::new().max_connections(8).acquire_timeout(Duration::from_secs(5));
        // One that was lost without a word would never answer.
        pool = pool.test_before_acquire(false).before_acquire(|connection, _| {
            Box::pin(async move {
                let lost = |_| sqlx::Error::Io(std::io::ErrorKind::TimedOut.into());
                tokio::time::timeout(PROOF_PATIENCE, connection.ping()).await.map_err(lost)??;
                Ok(true)
            })
        });
        let (url, is_postgres) = match place {
            config::Store::Sqlite(path) => {
                private_file(path).map_err(|error| failed(format!("{}: {error}", path.display())))?;
                pool = pool.after_connect(|connection, _| {
                    Box::pin(async { connection.execute(SQLITE_SETTINGS).await.map(drop) })
                });
                (sqlite_url(path)?, false)
            }
            config::Store::Postgres(url) => {
                pool = pool.after_connect(|connection, _| {
                    Box::pin(async { connection.execute(POSTGRES_SETTINGS).await.map(drop) })
                });
                (url.expose().to_owned(), true)
            }
        };
        let options = AnyConnectOptions::from_str(&url).map_err(|_| failed("its URL is wrong".into()))?;
        let pool = pool.connect_with(options.disable_statement_logging()).await?;
        let gateway: Arc<str> = gateway.into();
        // Nothing is announced to a database that nobody opened to work on.
        let disk = match place {
            config::Store::Sqlite(path) => room::Disk::of(path),
            config::Store::Postgres(_) => room::Disk::default(),
        };
        let audit = audit::Audit::start(pool.clone(), is_postgres, Arc::clone(&gateway), String::new(), disk, world);
        Ok(Self {
            pool,
            noted: Arc::default(),
            is_postgres,
            gateway,
            default_quotas: Live::new(default_quotas),
            running: idempotency::Running::default(),
            in_flight: stored::InFlight::default(),
            metrics,
            audit,
            clock_is_off: gateways::ClockIsOff::default(),
            world,
        })
    }

    /// This installation's identifier: 32 hex digits, made once.
    pub async fn installation(&self) -> Result<String> {
        Ok(sqlx::query_scalar("SELECT id FROM installation").fetch_one(&self.pool).await?)
    }

    /// Whether what Podman has of ours and these records do not know stays: since a restore.
    pub async fn keeps_strays(&self) -> Result<bool> {
        let kept: i64 = sqlx::query_scalar("SELECT keeps_strays FROM installation").fetch_one(&self.pool).await?;
        Ok(kept > 0)
    }

    /// There are none any more.
    pub async fn keep_no_strays(&self) -> Result<()> {
        sqlx::query("UPDATE installation SET keeps_strays = 0").execute(&self.pool).await?;
        Ok(())
    }

    /// What the thing is called that this attempt makes.
    pub fn id_for(&self, attempt: Option<&Attempt>) -> String {
        attempt.map_or_else(self.world.new_id, |attempt| attempt.id().to_owned())
    }

    /// The time as rows have it, milliseconds since 1970.
    pub fn now_ms(&self) -> i64 {
        self.world.now_ms()
    }

    async fn begin(&self) -> Result<Transaction<'static, Any>> {
        let asked = Instant::now();
        let tx = begin(&self.pool, self.is_postgres).await?;
        self.metrics.store_took("begin", asked.elapsed());
        Ok(tx)
    }

    /// Begins to read: all that is asked in it is of one moment, whoever goes on writing.
    async fn snapshot(&self) -> Result<Transaction<'static, Any>> {
        let begin = if self.is_postgres { "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY" } else { "BEGIN" };
        let mut tx = self.pool.begin_with(begin).await?;
        self.take_time(&mut tx).await?;
        Ok(tx)
    }

    /// Whoever reads or writes along may be slow.
    async fn take_time(&self, tx: &mut Transaction<'static, Any>) -> Result<()> {
        if self.is_postgres {
            sqlx::query("SET LOCAL idle_in_transaction_session_timeout = 0").execute(&mut **tx).await?;
        }
        Ok(())
    }

    /// What a tenant may have where its record says nothing else, from now on.
    pub fn set_default_quotas(&self, quotas: DefaultQuotas) {
        self.default_quotas.set(quotas);
    }
}

/// Begins to write. Whoever else begins waits for the end: SQLite's own lock, and as much on PostgreSQL.
async fn begin(pool: &AnyPool, is_postgres: bool) -> Result<Transaction<'static, Any>> {
    if !is_postgres {
        return Ok(pool.begin_with("BEGIN IMMEDIATE").await?);
    }
    let mut tx = pool.begin().await?;
    tx.execute(POSTGRES_LOCK).await?;
    Ok(tx)
}

/// The installation's identifier, made where there is none.
async fn found_installation(pool: &AnyPool, world: World) -> Result<String> {
    sqlx::query("INSERT INTO installation (only_row, id, created_ms) VALUES (1, $1, $2) ON CONFLICT DO NOTHING")
        .bind((world.new_id)())
        .bind(world.now_ms())
        .execute(pool)
        .await?;
    Ok(sqlx::query_scalar("SELECT id FROM installation").fetch_one(pool).await?)
}

/// A transaction whose gateway is lost without a word, its host perhaps, has the lock that all others need, until the server
/// hears of it from the network, hours later. None of ours rests that long in between.
const POSTGRES_SETTINGS: &str = "SET idle_in_transaction_session_timeout = '10s'";

const SQLITE_SETTINGS: &str =
    "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = 5000";

/// Any number will do, as long as all of us take the same.
const POSTGRES_LOCK: &str = "SELECT pg_advisory_xact_lock(7059841)";

/// What stands for itself in the path of a URL.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.');

fn sqlite_url(path: &Path) -> Result<String> {
    use std::os::unix::ffi::OsStrExt;
    let path = std::path::absolute(path).map_err(Error::internal)?;
    let path = std::str::from_utf8(path.as_os_str().as_bytes()).map_err(Error::internal)?;
    Ok(format!("sqlite://{}", utf8_percent_encode(path, PATH)))
}

fn private_file(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.open(path).map(drop)
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        // PostgreSQL's character_not_in_repertoire: a NUL, which SQLite takes for any other.
        if error.as_database_error().and_then(|error| error.code()).is_some_and(|code| code == "22021") {
            return Self::invalid("a NUL character has no place in a name").because(error);
        }
        Self::new(Kind::StoreDown, "the store is out of reach; try again").because(error)
    }
}

/// Most identifiers of one question.
const AT_ONCE: usize = 128;

/// The places of a list of parameters from `$first` on, and what goes there. Few lengths, so that statements are prepared
/// once: the last identifier may be there several times.
fn marks(first: usize, ids: &[&str]) -> (String, Vec<String>) {
    let places = ids.len().next_power_of_two();
    let marks: Vec<String> = (first..first + places).map(|number| format!("${number}")).collect();
    let ids = ids.iter().chain(ids.last().into_iter().cycle()).take(places);
    (marks.join(", "), ids.map(|id| (*id).to_owned()).collect())
}

/// Whether a write failed because such a row exists already.
fn is_duplicate(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|error| error.is_unique_violation())
}
