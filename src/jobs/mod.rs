//! What the gateway does by itself: bring ledger and Podman together, and housekeeping.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::auth::Authenticator;
use crate::config;
use crate::domain::Kind;
use crate::lifecycle::{Lifecycle, ROUND, Reconciled, within};
use crate::limit::Budgets;
use crate::metrics::{Metrics, Went};
use crate::policy::grant::SystemGrant;
use crate::store::Store;
use crate::streams::Streams;

/// Between two rounds once everything is settled, and while something is not.
const SETTLED: Duration = Duration::from_secs(60);
const UNSETTLED: Duration = Duration::from_secs(5);
/// Between two looks for old rows of the audit log.
const PRUNE_PAUSE: Duration = Duration::from_secs(3600);
/// Before room is made in the store: megabytes are written, while others wait for what is started.
const ROOM_DELAY: Duration = Duration::from_secs(5);
/// While Podman is away.
const AWAY: Duration = Duration::from_secs(2);
/// Before Podman's events are asked for again.
const EVENTS_PAUSE: Duration = Duration::from_secs(1);
/// Between two looks at how fast tenants may ask.
const RATES_PAUSE: Duration = Duration::from_secs(1);
/// How long a question to the store may take: what takes longer waits for a connection that was lost without a word.
const ASKING: Duration = Duration::from_secs(5);
/// Between two bites of the round over all containers.
const BITE_PAUSE: Duration = Duration::from_secs(1);

/// Reconciles now and then, for ever. The first round runs at once: what a crash left is gone before anybody looks.
pub async fn reconcile(lifecycle: Lifecycle, grant: SystemGrant, metrics: Metrics) {
    let mut away = false;
    let mut orphans_left = true;
    loop {
        let pause = match within(ROUND, lifecycle.reconcile(&grant)).await {
            Ok(Reconciled { rows, failed }) => {
                metrics.reconciled(if failed > 0 { Went::Badly } else { Went::Well }, rows, failed);
                if away || rows + failed > 0 {
                    tracing::info!(rows, failed, "ledger and Podman reconciled");
                }
                away = false;
                if failed > 0 { UNSETTLED } else { SETTLED }
            }
            Err(error) if error.kind == Kind::EngineDown => {
                metrics.reconciled(Went::Badly, 0, 0);
                if !away {
                    tracing::warn!(?error, "Podman is out of reach; waiting for it");
                }
                (away, orphans_left) = (true, true);
                AWAY
            }
            Err(error) => {
                metrics.reconciled(Went::Badly, 0, 0);
                tracing::error!(?error, "reconciling failed");
                UNSETTLED
            }
        };
        if !away && let Err(error) = lifecycle.probe_seccomp(&grant).await {
            tracing::debug!(?error, "whether Podman can read the seccomp profile is not known");
        }
        if !away
            && !lifecycle.knows_host()
            && let Err(error) = lifecycle.learn_host(&grant).await
        {
            tracing::warn!(?error, "what Podman's host can enforce is not known yet");
        }
        if !orphans_left && !away {
            match within(ROUND, lifecycle.settle_other_strays(&grant)).await {
                Ok(0) => {}
                Ok(gone) => {
                    metrics.orphans_removed(gone);
                    tracing::info!(gone, "networks and volumes of ours that nobody owns were removed");
                }
                Err(error) => tracing::debug!(?error, "objects without an owner could not be looked for"),
            }
        }
        if orphans_left && !away {
            match within(ROUND, lifecycle.settle_strays(&grant)).await {
                Ok((gone, kept)) => {
                    orphans_left = false;
                    metrics.orphans_removed(gone);
                    if gone > 0 {
                        tracing::info!(gone, "objects of ours that nobody owns were removed");
                    }
                    if kept > 0 {
                        tracing::warn!(
                            kept,
                            "Podman has objects that the restored records do not know: `podgate strays`"
                        );
                    }
                }
                Err(error) => tracing::warn!(?error, "objects without an owner could not be looked for"),
            }
        }
        let pause = if lifecycle.knows_host() { pause } else { pause.min(UNSETTLED) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = lifecycle.left_unsettled() => tokio::time::sleep(AWAY).await,
            // It may have another store by now, or have lost something.
            () = lifecycle.podman_came_back() => orphans_left = true,
        }
    }
}

/// Hears Podman's events, for ever: what was seen before counts only while they are heard.
pub async fn follow_events(lifecycle: Lifecycle, grant: SystemGrant) {
    loop {
        if let Err(error) = lifecycle.follow_events(&grant).await {
            tracing::debug!(?error, "Podman's events are not heard; reads ask for each container");
        }
        tokio::time::sleep(EVENTS_PAUSE).await;
    }
}

/// Looks at the containers that events tell of, and at all others a few at a time, for ever.
pub async fn watch(lifecycle: Lifecycle, grant: SystemGrant) {
    let all = async {
        let mut cursor = String::new();
        loop {
            tokio::time::sleep(BITE_PAUSE).await;
            match within(ROUND, lifecycle.look_at_some(&grant, &cursor)).await {
                Ok(next) => cursor = next,
                Err(error) => tracing::warn!(?error, "containers could not be looked at"),
            }
        }
    };
    tokio::join!(lifecycle.look_where_something_happened(&grant), all);
}

/// Measures what tenants store, for ever.
pub async fn measure(lifecycle: Lifecycle, grant: SystemGrant, survey_every: Duration) {
    let volumes = async {
        loop {
            let begun = Instant::now();
            if let Err(error) = within(ROUND, lifecycle.measure_volumes(&grant)).await {
                tracing::debug!(?error, "volumes could not be measured");
            }
            // No container is locked for long, so that the disk's share is what counts.
            tokio::time::sleep(UNSETTLED.max(begun.elapsed() * 5)).await;
        }
    };
    tokio::join!(lifecycle.measure_containers(&grant, survey_every), volumes);
}

/// Takes expired containers and deleted tenants away, every second, for ever.
pub async fn sweep(lifecycle: Lifecycle, grant: SystemGrant) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if let Err(error) = within(ASKING, lifecycle.expire(&grant)).await {
            tracing::warn!(?error, "expired containers could not be looked for");
        }
        if let Err(error) = within(ROUND, lifecycle.delete_marked_tenants(&grant)).await {
            tracing::warn!(?error, "deleted tenants could not be looked for");
        }
    }
}

/// Takes away audit rows that are older than that, every hour, for ever.
pub async fn prune_audit(store: Store, keep: Duration) {
    let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
    loop {
        match within(ROUND, store.prune_audit(store.now_ms().saturating_sub(keep_ms))).await {
            Ok(0) => {}
            Ok(rows) => tracing::info!(rows, "old rows of the audit log were taken away"),
            Err(error) => tracing::warn!(?error, "old rows of the audit log could not be taken away"),
        }
        tokio::time::sleep(PRUNE_PAUSE).await;
    }
}

/// Says every second that this gateway lives, hears of new signing keys, forgets what is old and keeps room in the store,
/// for ever.
pub async fn beat(store: Store, auth: Authenticator, idempotency: config::Idempotency) {
    let beating = async {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            if let Err(error) = within(ASKING, store.beat()).await {
                tracing::warn!(?error, "the store does not hear that this gateway lives");
            }
            if let Err(error) = within(ASKING, auth.renew_keys()).await {
                tracing::warn!(?error, "the signing keys could not be read");
            }
        }
    };
    let forgetting = async {
        loop {
            if let Err(error) = within(ROUND, store.forget_old_sessions()).await {
                tracing::warn!(?error, "sessions whose time is over could not be forgotten");
            }
            if let Err(error) = within(ROUND, store.forget_old_events()).await {
                tracing::warn!(?error, "events whose time is over could not be forgotten");
            }
            if let Err(error) = within(ROUND, store.forget_old_tickets()).await {
                tracing::warn!(?error, "tickets whose time is over could not be forgotten");
            }
            if let Err(error) = within(ROUND, store.abandon_lost_keys()).await {
                tracing::warn!(?error, "idempotency keys that were left could not be looked for");
            }
            if let Err(error) =
                within(ROUND, store.forget_old_keys(idempotency.kept, idempotency.keys_per_tenant)).await
            {
                tracing::warn!(?error, "idempotency keys whose time is over could not be forgotten");
            }
            tokio::time::sleep(SETTLED).await;
        }
    };
    let keeping_room = async {
        // Held for as long as this gateway lives.
        let mut kept_open = None;
        tokio::time::sleep(ROOM_DELAY).await;
        loop {
            let kept = match &kept_open {
                None => within(ROUND, store.begin_keeping_room()).await.map(|held| kept_open = Some(held)),
                Some(_) => within(ROUND, store.keep_room()).await,
            };
            if let Err(error) = kept {
                tracing::warn!(?error, "no room could be kept for removals on a full disk");
            }
            tokio::time::sleep(SETTLED).await;
        }
    };
    tokio::join!(beating, forgetting, keeping_room);
}

/// Tells listeners what happens, for ever.
pub async fn tell_events(lifecycle: Lifecycle) {
    lifecycle.tell_events().await;
}

/// Ends streams of those who may not have them any more, every second, for ever.
pub async fn check_streams(streams: Streams) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if tokio::time::timeout(ASKING, streams.check()).await.is_err() {
            tracing::warn!("whether streams may go on could not be asked in time");
        }
    }
}

/// Learns from the records how fast tenants may ask, for ever: whichever gateway or command line wrote them.
pub async fn read_own_rates(store: Store, budgets: Arc<Budgets>) {
    loop {
        match within(ASKING, store.own_rates()).await {
            Ok(rates) => budgets.set_own(rates),
            Err(error) => tracing::debug!(?error, "how fast tenants may ask is not known anew"),
        }
        tokio::time::sleep(RATES_PAUSE).await;
    }
}

/// Forgets budgets that are full again, so that addresses seen once do not stay in memory.
pub async fn forget_idle_budgets(budgets: Arc<Budgets>, auth: Authenticator) {
    loop {
        tokio::time::sleep(SETTLED).await;
        budgets.forget_idle();
        auth.forget_attempts();
    }
}
