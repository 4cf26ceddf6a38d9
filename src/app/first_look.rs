//! What is done before the first request is served.

use std::time::Duration;

use crate::lifecycle::Lifecycle;
use crate::metrics::{Metrics, Went};
use crate::policy::grant::SystemGrant;

/// How long Podman's first answers may hold up the start.
const FIRST_ANSWERS: Duration = Duration::from_secs(4);

/// How long the first round of the reconciler may, after them.
const FIRST_ROUND: Duration = Duration::from_secs(10);

/// Learns what Podman's host can enforce, and takes back what a crash left: names that it left taken are free again before
/// anybody asks. A Podman that does not answer is not waited for; what needs none is served meanwhile.
pub(super) async fn look(lifecycle: &Lifecycle, upkeep: &SystemGrant, metrics: &Metrics) {
    let learn = async { tokio::join!(lifecycle.learn_host(upkeep), lifecycle.probe_seccomp(upkeep)) };
    let Ok((host, seccomp)) = tokio::time::timeout(FIRST_ANSWERS, learn).await else {
        tracing::warn!("Podman is slow to answer; what its host can enforce is not known yet");
        return;
    };
    for error in [host.err(), seccomp.err()].into_iter().flatten() {
        tracing::warn!(?error, "what Podman's host can enforce is not known yet");
    }
    match tokio::time::timeout(FIRST_ROUND, lifecycle.reconcile(upkeep)).await {
        Ok(Ok(done)) if done.rows + done.failed > 0 => {
            let went = if done.failed > 0 { Went::Badly } else { Went::Well };
            metrics.reconciled(went, done.rows, done.failed);
            tracing::info!(rows = done.rows, failed = done.failed, "what a crash left was taken back");
        }
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(?error, "what a crash may have left is looked for later"),
        Err(_) => tracing::warn!("looking for what a crash left takes long; it goes on beside the requests"),
    }
}
