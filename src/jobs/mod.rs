//! What the gateway does by itself: bring ledger and Podman together, and housekeeping.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::domain::Kind;
use crate::lifecycle::Lifecycle;
use crate::limit::Limiter;
use crate::policy::grant::SystemGrant;

/// Between two rounds once everything is settled, and while something is not.
const SETTLED: Duration = Duration::from_secs(60);
const UNSETTLED: Duration = Duration::from_secs(5);
/// While Podman is away.
const AWAY: Duration = Duration::from_secs(2);

/// Reconciles now and then, for ever. The first round runs at once: what a crash left is gone before anybody looks.
pub async fn reconcile(lifecycle: Lifecycle, grant: SystemGrant) {
    let mut away = false;
    loop {
        let pause = match lifecycle.reconcile(&grant).await {
            Ok(done) => {
                if away || done.rows + done.orphans + done.failed > 0 {
                    let (rows, orphans, failed) = (done.rows, done.orphans, done.failed);
                    tracing::info!(rows, orphans, failed, "ledger and Podman reconciled");
                }
                away = false;
                if done.failed > 0 { UNSETTLED } else { SETTLED }
            }
            Err(error) if error.kind == Kind::EngineDown => {
                if !away {
                    tracing::warn!(?error, "Podman is out of reach; waiting for it");
                }
                away = true;
                AWAY
            }
            Err(error) => {
                tracing::error!(?error, "reconciling failed");
                UNSETTLED
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// Forgets budgets that are full again, so that addresses seen once do not stay in memory.
pub async fn forget_idle_budgets(tenants: Arc<Limiter<String>>, addresses: Arc<Limiter<IpAddr>>) {
    loop {
        tokio::time::sleep(SETTLED).await;
        tenants.forget_idle();
        addresses.forget_idle();
    }
}
