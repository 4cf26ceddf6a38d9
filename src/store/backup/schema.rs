//! Which tables and columns there are, as the database tells.

use sqlx::AnyConnection;

use crate::domain::{Error, Result};

/// A table of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

impl Table {
    /// `"a", "b"`: names come from the schema, which is ours.
    pub(super) fn column_list(&self) -> String {
        self.columns.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    }
}

const SQLITE: [&str; 3] = [
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
       AND name NOT IN ('_sqlx_migrations', 'podgate_room') ORDER BY name",
    "SELECT name FROM pragma_table_info($1) ORDER BY cid",
    "SELECT DISTINCT \"table\" FROM pragma_foreign_key_list($1)",
];

const POSTGRES: [&str; 3] = [
    "SELECT CAST(table_name AS TEXT) FROM information_schema.tables
     WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name <> '_sqlx_migrations'
     ORDER BY table_name",
    "SELECT CAST(column_name AS TEXT) FROM information_schema.columns
     WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
    "SELECT DISTINCT CAST(other.relname AS TEXT)
     FROM pg_constraint c
     JOIN pg_class own ON own.oid = c.conrelid
     JOIN pg_class other ON other.oid = c.confrelid
     JOIN pg_namespace n ON n.oid = own.relnamespace
     WHERE c.contype = 'f' AND n.nspname = current_schema() AND CAST(own.relname AS TEXT) = $1",
];

/// All tables, each after those that its rows refer to.
pub(super) async fn tables(conn: &mut AnyConnection, is_postgres: bool) -> Result<Vec<Table>> {
    let [names, columns, references] = if is_postgres { POSTGRES } else { SQLITE };
    let mut left = Vec::new();
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut *conn).await?;
    for name in names {
        let columns: Vec<String> = sqlx::query_scalar(columns).bind(&name).fetch_all(&mut *conn).await?;
        let mut needs: Vec<String> = sqlx::query_scalar(references).bind(&name).fetch_all(&mut *conn).await?;
        needs.retain(|other| *other != name);
        left.push((Table { name, columns }, needs));
    }
    let mut ordered: Vec<Table> = Vec::new();
    while !left.is_empty() {
        let is_free = |needs: &[String]| needs.iter().all(|other| ordered.iter().any(|table| table.name == *other));
        let next = left.iter().position(|(_, needs)| is_free(needs));
        let next = next.ok_or_else(|| Error::internal("tables refer to each other in a circle"))?;
        ordered.push(left.remove(next).0);
    }
    Ok(ordered)
}

/// The migrations that the database has seen.
pub(super) async fn migrations(conn: &mut AnyConnection) -> Result<Vec<i64>> {
    Ok(sqlx::query_scalar("SELECT version FROM _sqlx_migrations ORDER BY version").fetch_all(conn).await?)
}
