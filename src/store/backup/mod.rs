//! The whole store as one file, and back.
//!
//! A line of JSON each: a heading, then for every table its name and columns and a line a row, then an end with the
//! number of rows and the SHA-256 of all that stands before it. Which tables there are, the database itself tells, so that
//! a new one is never forgotten. The file is the same for SQLite and PostgreSQL.

mod dump;
mod restore;
mod rows;
mod schema;
mod scratch;

use serde::{Deserialize, Serialize};

pub use restore::{RestoreOptions, Restored};
pub use scratch::Scratch;

/// The version of the file's form.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Heading {
    podgate_backup: u32,
    program: String,
    made_ms: i64,
    migrations: Vec<i64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableLine {
    table: String,
    columns: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndLine {
    rows: u64,
    sha256: String,
}
