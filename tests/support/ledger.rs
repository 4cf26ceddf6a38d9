//! What a site's database says, and changing it as an administrator could.

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use super::Site;

pub struct Ledger(SqlitePool);

impl Ledger {
    pub async fn of(site: &Site) -> Self {
        Self::at(&site.data("podgate.db")).await.expect("a database")
    }

    pub async fn at(path: &std::path::Path) -> sqlx::Result<Self> {
        Ok(Self(SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await?))
    }

    /// What every object of the site is labelled with in Podman.
    pub async fn installation(&self) -> sqlx::Result<String> {
        sqlx::query_scalar("SELECT id FROM installation").fetch_one(&self.0).await
    }

    /// Changes it.
    pub async fn execute(&self, statement: &'static str) {
        sqlx::query(statement).execute(&self.0).await.expect("a statement");
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &'static str) -> i64 {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        sqlx::query_scalar(count).fetch_one(&self.0).await.expect("such a table")
    }
}
