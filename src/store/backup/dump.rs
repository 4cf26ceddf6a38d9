//! The store into a file.

use std::io::Write;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::schema::{migrations, tables};
use super::{EndLine, FORM, Heading, TableLine, rows};
use crate::domain::{Error, Kind, Result, hex};
use crate::store::Store;

/// Writes lines, and their digest along with them.
struct Lines<'a, W> {
    out: &'a mut W,
    digest: Sha256,
}

impl<W: Write> Lines<'_, W> {
    fn write(&mut self, line: &impl Serialize) -> Result<()> {
        let mut text = serde_json::to_string(line).map_err(Error::internal)?;
        text.push('\n');
        self.digest.update(&text);
        self.out.write_all(text.as_bytes()).map_err(unwritten)
    }
}

impl Store {
    /// Writes all that the store holds at one moment, whoever goes on writing to it. Gives the number of rows.
    pub async fn dump(&self, out: &mut impl Write) -> Result<u64> {
        let mut tx = self.snapshot().await?;
        let mut lines = Lines { out, digest: Sha256::new() };
        let migrations = migrations(&mut tx).await?;
        let program = env!("CARGO_PKG_VERSION").to_owned();
        lines.write(&Heading { podgate_backup: FORM, program, made_ms: self.world.now_ms(), migrations })?;
        let mut count = 0;
        for table in tables(&mut tx, self.is_postgres).await? {
            lines.write(&TableLine { table: table.name.clone(), columns: table.columns.clone() })?;
            rows::each_row(&mut tx, &table, async |row| {
                count += 1;
                lines.write(&row)
            })
            .await?;
        }
        tx.rollback().await?;
        let end = EndLine { rows: count, sha256: hex(&lines.digest.clone().finalize()) };
        lines.write(&end)?;
        lines.out.flush().map_err(unwritten)?;
        Ok(count)
    }
}

fn unwritten(error: std::io::Error) -> Error {
    Error::new(Kind::StoreDown, "the backup could not be written").because(error)
}
