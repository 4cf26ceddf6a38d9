//! Rows of any table: numbers, text, and nothing.

use futures_util::TryStreamExt;
use serde_json::Value;
use sqlx::any::{AnyRow, AnyTypeInfoKind};
use sqlx::{AnyConnection, AssertSqlSafe, Row, TypeInfo, ValueRef};

use super::schema::Table;
use crate::domain::{Error, Result};

/// Rows of one statement. PostgreSQL takes 65,535 parameters, SQLite 32,766.
const AT_ONCE: usize = 100;

/// Hands every row of a table to `take`.
pub(super) async fn each_row(
    conn: &mut AnyConnection,
    table: &Table,
    mut take: impl AsyncFnMut(Vec<Value>) -> Result<()>,
) -> Result<()> {
    let select = AssertSqlSafe(format!("SELECT {} FROM \"{}\"", table.column_list(), table.name));
    let mut rows = sqlx::query(select).fetch(conn);
    while let Some(row) = rows.try_next().await? {
        let values = (0..table.columns.len()).map(|index| value(&row, index, table)).collect::<Result<_>>()?;
        take(values).await?;
    }
    Ok(())
}

fn value(row: &AnyRow, index: usize, table: &Table) -> Result<Value> {
    let raw = row.try_get_raw(index)?;
    if raw.is_null() {
        return Ok(Value::Null);
    }
    match raw.type_info().kind() {
        AnyTypeInfoKind::SmallInt | AnyTypeInfoKind::Integer | AnyTypeInfoKind::BigInt => {
            Ok(row.try_get::<i64, _>(index)?.into())
        }
        AnyTypeInfoKind::Text => Ok(row.try_get::<String, _>(index)?.into()),
        _ => {
            let kind = raw.type_info().name().to_owned();
            Err(Error::internal(format!("{}.{} is of type {kind}", table.name, table.columns[index])))
        }
    }
}

/// Rows that go into a table, many in one statement.
pub(super) struct Writer<'a> {
    table: &'a Table,
    rows: Vec<Vec<Value>>,
}

impl<'a> Writer<'a> {
    pub(super) fn into(table: &'a Table) -> Self {
        Self { table, rows: Vec::new() }
    }

    pub(super) async fn push(&mut self, conn: &mut AnyConnection, row: Vec<Value>) -> Result<()> {
        self.rows.push(row);
        if self.rows.len() == AT_ONCE { self.flush(conn).await } else { Ok(()) }
    }

    /// Writes what is left.
    pub(super) async fn flush(&mut self, conn: &mut AnyConnection) -> Result<()> {
        if self.rows.is_empty() {
            return Ok(());
        }
        let rows = std::mem::take(&mut self.rows);
        let mut number = 0;
        // NULL stands for itself: a parameter would have to be of its column's type.
        let mut place = |value: &Value| {
            if value.is_null() {
                return "NULL".to_owned();
            }
            number += 1;
            format!("${number}")
        };
        let tuple = |row: &Vec<Value>| format!("({})", row.iter().map(&mut place).collect::<Vec<_>>().join(", "));
        let tuples: Vec<String> = rows.iter().map(tuple).collect();
        let (name, columns) = (&self.table.name, self.table.column_list());
        let insert = format!("INSERT INTO \"{name}\" ({columns}) VALUES {}", tuples.join(", "));
        let mut query = sqlx::query(AssertSqlSafe(insert)).persistent(false);
        for value in rows.into_iter().flatten() {
            query = match value {
                Value::Null => query,
                Value::String(text) => query.bind(text),
                Value::Number(number) => query.bind(number.as_i64().ok_or_else(unknown_value)?),
                Value::Bool(_) | Value::Array(_) | Value::Object(_) => return Err(unknown_value()),
            };
        }
        query.execute(conn).await?;
        Ok(())
    }
}

fn unknown_value() -> Error {
    Error::invalid("a row has a value that is neither a whole number nor text")
}
