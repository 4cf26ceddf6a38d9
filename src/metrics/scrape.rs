//! What is looked up when somebody asks, and not counted all along.

use super::Metrics;
use super::families::{Kept, Named, State};

/// What was found just now.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Podman.
    pub podman: bool,
    /// The store.
    pub store: bool,
    /// Whether the audit log and its copy could be written the last time.
    pub audit_writable: bool,
    /// Rows of the audit log that wait in memory.
    pub audit_kept: usize,
    /// Whether the store's disk has too little room for changes.
    pub disk_full: bool,
    /// Whether Podman's events are heard.
    pub events: bool,
    /// Containers that Podman does not answer for.
    pub wedged: usize,
    /// Places of each queue, by its name.
    pub sizes: Vec<(&'static str, usize)>,
    /// Commands running in containers.
    pub execs: i64,
    /// Streams and terminals.
    pub streams: i64,
    /// Rows of the ledger by state; none if the store does not answer.
    pub containers: Vec<(&'static str, i64)>,
    /// Other rows, by what they are.
    pub records: Vec<(&'static str, i64)>,
    /// Until when each listener's certificate is good, seconds since 1970.
    pub certificates: Vec<(String, i64)>,
}

impl Metrics {
    /// Takes what was found.
    pub fn found(&self, scrape: Scrape) {
        let families = self.families();
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        families.podman_up.set(i64::from(scrape.podman));
        families.store_up.set(i64::from(scrape.store));
        families.audit_writable.set(i64::from(scrape.audit_writable));
        families.audit_kept.set(count(scrape.audit_kept));
        families.disk_full.set(i64::from(scrape.disk_full));
        families.events_heard.set(i64::from(scrape.events));
        families.wedged.set(count(scrape.wedged));
        families.execs.set(scrape.execs);
        families.streams.set(scrape.streams);
        for (queue, size) in scrape.sizes {
            families.queue_size.get_or_create(&Named { queue }).set(count(size));
        }
        for (state, rows) in scrape.containers {
            families.containers.get_or_create(&State { state }).set(rows);
        }
        for (kind, rows) in scrape.records {
            families.kept.get_or_create(&Kept { kind }).set(rows);
        }
        for (listener, not_after) in scrape.certificates {
            self.certificate(listener, not_after);
        }
    }
}
