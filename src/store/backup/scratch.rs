//! A backup, read whole into a database of its own before anything is changed: whatever is wrong with it shows there, and
//! there an older schema is brought up to date.

use std::borrow::Cow;
use std::io::BufRead;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use sha2::{Digest, Sha256};
use sqlx::Transaction;

use super::rows::Writer;
use super::schema::{Table, tables};
use super::{EndLine, FORM, Heading, TableLine};
use crate::config;
use crate::domain::{Error, Result, World, hex};
use crate::metrics::Metrics;
use crate::store::{MIGRATIONS, State, Store};

/// The database, which is gone when this is dropped.
pub struct Scratch {
    pub(super) store: Store,
    /// When the backup was made, milliseconds since 1970.
    pub(super) made_ms: i64,
    path: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(end);
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Reads lines, and their digest along with them.
struct Lines<'a, R> {
    input: &'a mut R,
    digest: Sha256,
    line: Vec<u8>,
}

impl<R: BufRead> Lines<'_, R> {
    /// The next line, and the digest of all before it.
    fn next(&mut self) -> Result<Sha256> {
        let before = self.digest.clone();
        self.line.clear();
        self.input.read_until(b'\n', &mut self.line).map_err(|error| damaged("it cannot be read").because(error))?;
        if self.line.pop() != Some(b'\n') {
            return Err(damaged("it is cut off"));
        }
        self.digest.update(&self.line);
        self.digest.update(b"\n");
        Ok(before)
    }

    fn as_a<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.line).ok()
    }
}

impl Scratch {
    /// Reads a backup. `Invalid` if it is none, is damaged, or is of a newer program. `path` must not exist.
    pub async fn read(input: &mut impl BufRead, path: &Path, world: World) -> Result<Self> {
        let mut lines = Lines { input, digest: Sha256::new(), line: Vec::new() };
        lines.next().map_err(|_| damaged("it is no backup of Podgate"))?;
        let heading: Heading = lines.as_a().ok_or_else(|| damaged("it is no backup of Podgate"))?;
        let known: Vec<i64> = MIGRATIONS.iter().map(|migration| migration.version).collect();
        if heading.podgate_backup != FORM || heading.migrations.iter().any(|version| !known.contains(version)) {
            let made_by = heading.program.chars().filter(|c| c.is_ascii_graphic()).take(32).collect::<String>();
            return Err(damaged(format!("it is of a newer Podgate ({made_by}), whose records this one does not know")));
        }
        let place = config::Store::Sqlite(path.to_owned());
        let store = Store::connect(&place, String::new(), Default::default(), Metrics::new(), world).await?;
        let scratch = Self { store, made_ms: heading.made_ms, path: path.to_owned() };
        let mut migrations = sqlx::migrate!("src/store/migrations");
        let wanted = migrations.migrations.iter().filter(|one| heading.migrations.contains(&one.version));
        migrations.migrations = Cow::Owned(wanted.cloned().collect());
        migrations
            .run(&scratch.store.pool)
            .await
            .map_err(|error| damaged("its records cannot be laid out").because(error))?;
        let mut tx = scratch.store.begin().await?;
        fill(&mut tx, &mut lines).await?;
        tx.commit().await?;
        MIGRATIONS.run(&scratch.store.pool).await.map_err(Error::internal)?;
        scratch.settle().await?;
        Ok(scratch)
    }

    /// What was half made when the backup was made, was made since or was not: the records must not have it taken away as
    /// what a crash left. Whoever worked on what, does not any more.
    async fn settle(&self) -> Result<()> {
        for statement in [
            "DELETE FROM gateways",
            "UPDATE containers SET gateway = ''",
            "UPDATE volumes SET gateway = ''",
            "UPDATE idempotency_keys SET gateway = ''",
        ] {
            sqlx::query(statement).execute(&self.store.pool).await?;
        }
        for row in self.store.unsettled_containers().await? {
            if row.state == State::Creating {
                self.store.forget_container(&row).await?;
            }
        }
        for volume in self.store.unsettled_volumes().await? {
            if volume.state == State::Creating {
                self.store.forget_volume(&volume).await?;
            }
        }
        Ok(())
    }
}

/// The file's rows into the tables, all of them and no others.
async fn fill(tx: &mut Transaction<'static, sqlx::Any>, lines: &mut Lines<'_, impl BufRead>) -> Result<()> {
    let mut left: Vec<Table> = tables(tx, false).await?;
    let mut count = 0;
    let mut before = lines.next()?;
    while let Some(TableLine { table, columns }) = lines.as_a() {
        let known = left.iter().position(|one| one.name == table && one.columns == columns);
        let known = left.remove(known.ok_or_else(|| damaged("it has a table that its schema has not"))?);
        let mut writer = Writer::into(&known);
        loop {
            before = lines.next()?;
            let Some(row) = lines.as_a::<Vec<Value>>() else { break };
            if row.len() != known.columns.len() {
                return Err(damaged("a row is not as long as its table is wide"));
            }
            count += 1;
            writer.push(tx, row).await.map_err(contradicts)?;
        }
        writer.flush(tx).await.map_err(contradicts)?;
    }
    let end: EndLine = lines.as_a().ok_or_else(|| damaged("a line makes no sense"))?;
    if !left.is_empty() || end.rows != count {
        return Err(damaged("something is missing"));
    }
    if end.sha256 != hex(&before.finalize()) {
        return Err(damaged("its digest is another one"));
    }
    match lines.input.fill_buf() {
        Ok([]) => Ok(()),
        _ => Err(damaged("something follows its end")),
    }
}

fn contradicts(error: Error) -> Error {
    let cause = format!("{error:?}");
    damaged("a row contradicts the others").because(cause)
}

fn damaged(why: impl std::fmt::Display) -> Error {
    Error::invalid(format!("this backup cannot be restored: {why}"))
}
