//! What a site's database says, and changing it as an administrator could.

use sqlx::{AnyPool, Executor};

use super::{Site, eventually};

pub struct Ledger(pub AnyPool);

/// A row of the audit log, as far as stories look at it.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct AuditRow {
    pub sequence: i64,
    pub phase: String,
    pub actor: Option<String>,
    pub key_id: Option<String>,
    pub tenant: Option<String>,
    pub verb: Option<String>,
    pub object_kind: Option<String>,
    pub object: Option<String>,
    pub object_id: Option<String>,
    pub source: Option<String>,
    pub request_id: Option<String>,
    pub argv: Option<String>,
    pub detail: Option<String>,
    pub reason: Option<String>,
    pub intent: Option<i64>,
    pub outcome: Option<String>,
    pub status: Option<i64>,
    pub duration_ms: Option<i64>,
}

/// Something that was announced or refused, with its outcome.
#[derive(Debug, Clone)]
pub struct Audited {
    pub row: AuditRow,
    pub outcome: Option<AuditRow>,
}

impl Audited {
    /// Actor, verb, object and outcome, which a story tells at a glance.
    pub fn brief(&self) -> [&str; 4] {
        let ended = self.outcome.as_ref().unwrap_or(&self.row);
        [&self.row.actor, &self.row.verb, &self.row.object, &ended.outcome].map(|text| text.as_deref().unwrap_or("-"))
    }
}

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

    /// The rows of the audit log, in order.
    pub async fn audit_rows(&self) -> Vec<AuditRow> {
        let rows = "SELECT sequence, phase, actor, key_id, tenant, verb, object_kind, object, object_id, source,
                           request_id, argv, detail, reason, intent, outcome, status, duration_ms
                    FROM audit_log ORDER BY chain, sequence";
        sqlx::query_as(rows).fetch_all(&self.0).await.expect("an audit log")
    }

    /// What was announced or refused after the first `seen`, once all of it has an outcome.
    pub async fn audited(&self, seen: usize) -> Vec<Audited> {
        eventually("outcomes in the audit log", || async {
            let rows = self.audit_rows().await;
            let outcome = |of: &AuditRow| rows.iter().find(|row| row.intent == Some(of.sequence)).cloned();
            let entries = rows.iter().filter(|row| matches!(row.phase.as_str(), "intent" | "refusal")).skip(seen);
            let entries: Vec<_> = entries.map(|row| Audited { row: row.clone(), outcome: outcome(row) }).collect();
            let is_told = |entry: &Audited| entry.row.phase == "refusal" || entry.outcome.is_some();
            entries.iter().all(is_told).then_some(entries)
        })
        .await
    }

    /// How many rows a table has.
    pub async fn count(&self, table: &'static str) -> i64 {
        let count = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
        sqlx::query_scalar(count).fetch_one(&self.0).await.expect("such a table")
    }
}
