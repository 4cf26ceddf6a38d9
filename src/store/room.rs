//! Room for removals when the disk has none.
//!
//! What a full disk refuses is everything that makes something. So that removals can be written, SQLite is given room while
//! there is some: pages of the database that hold nothing, and a journal that is as long as it gets. Neither is given back.
//! A server's disk is the server's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::{Any, Executor};

use super::Store;
use crate::domain::{Error, Kind, Result};

/// Bytes that have to be free for everything but removals and stops.
const LEAST_FREE: u64 = 8 * 1024 * 1024;

/// Bytes kept in the database, and in its journal: more than it has between two checkpoints (1,000 pages of 4 KiB).
const KEPT: i64 = 6 * 1024 * 1024;

/// The disk that the database is on, if it is ours to watch.
#[derive(Clone, Default)]
pub(super) struct Disk(Option<Arc<Watched>>);

struct Watched {
    directory: PathBuf,
    is_full: AtomicBool,
}

impl Disk {
    /// Of a database in this file.
    pub(super) fn of(file: &Path) -> Self {
        let directory = match file.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            _ => PathBuf::from("."),
        };
        Self(Some(Arc::new(Watched { directory, is_full: AtomicBool::new(false) })))
    }

    /// `StoreDown` while the disk has too little for anything new.
    pub(super) fn has_room(&self) -> Result<()> {
        let Some(watched) = &self.0 else { return Ok(()) };
        // Where nobody can say, writing tells.
        let free = rustix::fs::statvfs(&watched.directory).map_or(u64::MAX, |stat| stat.f_bavail * stat.f_frsize);
        let is_full = free < LEAST_FREE;
        if watched.is_full.swap(is_full, Ordering::Relaxed) != is_full {
            let directory = watched.directory.display();
            if is_full {
                tracing::error!(%directory, free, "the disk is full; nothing is changed but for removals and stops");
            } else {
                tracing::info!(%directory, free, "the disk has room again");
            }
        }
        if is_full {
            return Err(Error::new(Kind::StoreDown, "the gateway's disk is full; nothing was done"));
        }
        Ok(())
    }
}

/// Keeps the journal as long as it is: SQLite takes it away with its last connection.
pub struct KeptOpen {
    _connection: Option<PoolConnection<Any>>,
}

impl Store {
    /// Makes room for removals, and a journal that stays. Nothing where the database is a server's.
    pub async fn begin_keeping_room(&self) -> Result<KeptOpen> {
        if self.is_postgres {
            return Ok(KeptOpen { _connection: None });
        }
        let connection = self.pool.acquire().await?;
        self.make_room().await?;
        Ok(KeptOpen { _connection: Some(connection) })
    }

    /// Makes room again where less than half of it is left, and the disk has some.
    pub async fn keep_room(&self) -> Result<()> {
        const LEFT: &str = "SELECT freelist_count * page_size FROM pragma_freelist_count(), pragma_page_size()";
        if !self.is_postgres && sqlx::query_scalar::<_, i64>(LEFT).fetch_one(&self.pool).await? < KEPT / 2 {
            self.make_room().await?;
        }
        Ok(())
    }

    async fn make_room(&self) -> Result<()> {
        self.audit.has_room()?;
        let mut connection = self.pool.acquire().await?;
        connection.execute("DROP TABLE IF EXISTS podgate_room").await?;
        connection.execute("CREATE TABLE podgate_room (filler BLOB NOT NULL)").await?;
        sqlx::query("INSERT INTO podgate_room VALUES (zeroblob($1))").bind(KEPT).execute(&mut *connection).await?;
        // From the journal into the database, which has the blocks for good then.
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").await?;
        connection.execute("DROP TABLE podgate_room").await?;
        Ok(())
    }
}
