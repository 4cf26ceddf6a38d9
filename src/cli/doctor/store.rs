//! The store: there, current, writable.

use super::Report;
use crate::config::{self, Config};
use crate::domain::World;
use crate::metrics::Metrics;
use crate::store::Store;

/// A gateway that was heard so much later than now has another idea of the time, or we have.
const SKEW_MS: i64 = 30_000;

/// The database's clock may differ by so many seconds.
const APART_SECONDS: i64 = 5;

/// Gives the store where it can be used as it is.
pub(super) async fn examine(config: &Config, world: World, report: &mut Report) -> Option<Store> {
    const CHECK: &str = "store";
    let place = match &config.store {
        config::Store::Sqlite(path) => path.display().to_string(),
        config::Store::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let found = match Store::examine(&config.store).await {
        Ok(Some(found)) => found,
        Ok(None) => {
            report.warn(CHECK, format!("{place} is not there yet"), "the first start of the gateway makes it");
            return None;
        }
        Err(error) => {
            let advice = match &config.store {
                config::Store::Sqlite(_) => {
                    "run this as root or as the gateway's user; the disk may be full or read-only"
                }
                config::Store::Postgres(_) => "see whether the server runs, and store.url and store.password_file",
            };
            report.fail(CHECK, format!("{place} cannot be written: {error:?}"), advice);
            return None;
        }
    };
    if found.unknown > 0 {
        let advice = "run the newer program again, or go back to a copy of the store from before its upgrade";
        report.fail(CHECK, format!("{place} was made by a newer Podgate"), advice);
        return None;
    }
    if found.pending > 0 {
        let message = format!("{place} is writable, and {} step(s) behind this program", found.pending);
        report.warn(CHECK, message, "the next start of the gateway brings it up to date; keep a copy from before");
        return None;
    }
    report.ok(CHECK, format!("{place} is writable and up to date"));
    let now = world.now_ms();
    if let Some(apart) = found.clock_ms.map(|clock| (now - clock) / 1000).filter(|apart| apart.abs() > APART_SECONDS) {
        let word = if apart > 0 { "ahead of" } else { "behind" };
        let message = format!("this host's clock is {} s {word} the database's", apart.abs());
        report.fail("clock", message, "set both by NTP; tokens and expiry times depend on it");
    }
    if found.last_heard_ms > now + SKEW_MS {
        let message = "a gateway was heard in the future: its clock is ahead, or this one is behind";
        report.fail("clock", message, "set both by NTP; tokens and expiry times depend on it");
    }
    let quotas = config.quotas.defaults.clone();
    match Store::open(&config.store, "doctor".into(), quotas, Metrics::new(), world).await {
        Ok(store) => Some(store),
        Err(error) => {
            report.fail(CHECK, format!("{place} cannot be opened: {error:?}"), "see the store's log");
            None
        }
    }
}
