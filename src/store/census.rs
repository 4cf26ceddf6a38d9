//! How much there is of everything: for probes and metrics, of all tenants together.

use std::time::{Duration, Instant};

use super::Store;
use crate::domain::{Error, Kind, Result};

/// How long a probe waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Rows by what they are.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Census {
    /// Containers by their state in the ledger; every state is there.
    pub containers: Vec<(&'static str, i64)>,
    /// Whatever else is counted.
    pub records: Vec<(&'static str, i64)>,
}

impl Store {
    /// Whether the store answers.
    pub async fn ping(&self) -> Result<()> {
        let asked = Instant::now();
        let ask = sqlx::query("SELECT 1").execute(&self.pool);
        let slow = |_| Error::new(Kind::StoreDown, "the store does not answer");
        tokio::time::timeout(PATIENCE, ask).await.map_err(slow)??;
        self.metrics.store_took("ping", asked.elapsed());
        Ok(())
    }

    /// Counts.
    pub async fn census(&self) -> Result<Census> {
        let counted: Vec<(String, i64)> = sqlx::query_as(
            "SELECT state, COUNT(*) FROM containers GROUP BY state
             UNION ALL SELECT 'running_containers', COUNT(*) FROM containers WHERE running = 1
             UNION ALL SELECT 'tenants', COUNT(*) FROM tenants
             UNION ALL SELECT 'accounts', COUNT(*) FROM accounts
             UNION ALL SELECT 'volumes', COUNT(*) FROM volumes",
        )
        .fetch_all(&self.pool)
        .await?;
        let of =
            |name: &'static str| (name, counted.iter().find(|(found, _)| found == name).map_or(0, |(_, count)| *count));
        Ok(Census {
            containers: ["creating", "ready", "removing"].map(of).into(),
            records: ["running_containers", "tenants", "accounts", "volumes"].map(of).into(),
        })
    }
}
