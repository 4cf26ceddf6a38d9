//! What a site's database says, and changing it as an administrator could.

use sqlx::{AnyPool, Executor};

use super::Site;

pub struct Ledger(pub AnyPool);

impl Ledger {
    pub async fn of(site: &Site) -> Self {
        Self::at(&site.database()).await.expect("a database")
    }

    pub async fn at(url: &str) -> sqlx::Result<Self> {
        sqlx::any::install_default_drivers();
        Ok(Self(AnyPool::connect(url).await?))
    }

    /// What every object of the site is labelled with in Podman.
    pub async fn installation(&self) -> sqlx::Result<String> {
        sqlx::query_scalar("SELECT id FROM installation").fetch_one(&self.0).await
    }

    /// The `kid` and PEM of the key that signs tokens.
    pub async fn signing_key(&self) -> (String, String) {
        let newest = "SELECT id, private_pem FROM signing_keys WHERE retires_ms IS NULL";
        sqlx::query_as(newest).fetch_one(&self.0).await.expect("a key")
    }

    /// Changes it.
    pub async fn execute(&self, statement: &'static str) {
        self.0.execute(statement).await.expect("a statement");
    }

    /// Changes one row, which `$1` names.
    pub async fn change(&self, statement: &'static str, which: &str) {
        let done = sqlx::query(statement).bind(which).execute(&self.0).await.expect("a statement");
        assert_eq!(done.rows_affected(), 1, "{statement}");
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &'static str) -> i64 {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        sqlx::query_scalar(count).fetch_one(&self.0).await.expect("such a table")
    }
}
