//! What an operator watches, in Prometheus' text, by the names and buckets of OpenTelemetry's conventions where these
//! have one for the thing.
//!
//! No label holds what a client or a tenant wrote: no URL, no tenant, no name (SECURITY rule 36). What labels tell apart
//! the program knows in advance, so that nobody can make the number of series grow.

mod families;
mod process;
mod queue;
mod scrape;

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::domain::{Error, Kind, Result};

use families::{Call, Decision, Families, Outcome, Request, StoreOperation};
pub use queue::{Queue, Running, Waiting};
pub use scrape::Scrape;

/// The media type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// A handle on all that is counted; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Inner>);

struct Inner {
    registry: Registry,
    families: Families,
}

/// Connections of the listeners.
#[derive(Clone, Default)]
pub struct Connections {
    /// Standing now.
    pub open: Gauge,
    /// Refused because their address has its share.
    pub refused: Counter,
    /// TLS handshakes that failed or took too long.
    pub failed_handshakes: Counter,
}

/// How a round of the reconciler, or a reading of the configuration, went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Went {
    /// As it should.
    Well,
    /// Not at all, or not everything.
    Badly,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Everything at nought.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        let families = Families::registered(&mut registry);
        registry.register_collector(Box::new(process::Process::new()));
        Self(Arc::new(Inner { registry, families }))
    }

    /// All of it as text, version 0.0.4 of Prometheus' format.
    pub fn text(&self) -> Result<String> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0.registry).map_err(Error::internal)?;
        Ok(text)
    }

    /// A request begins; `route` is a template of the document, or empty.
    pub fn request(&self, method: &str, route: &str) -> InFlight {
        let method = known_method(method);
        self.families().active_requests.inc();
        InFlight { metrics: self.clone(), method, route: route.to_owned(), begun: Instant::now(), ended: false }
    }

    /// Times a call to Podman; `call` is a method and a template of a path.
    pub async fn podman_call<T>(&self, call: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut timed = Timed { metrics: self, call, begun: Instant::now(), outcome: "abandoned" };
        let result = work.await;
        timed.outcome = match &result {
            Ok(_) => "ok",
            Err(error) => match error.kind {
                Kind::EngineDown => "unreachable",
                Kind::EngineTimeout => "timeout",
                Kind::Engine | Kind::Internal => "failed",
                _ => "refused",
            },
        };
        result
    }

    /// What stands in front of something of which there is a bounded number.
    pub fn queue(&self, name: &'static str) -> Queue {
        self.families().queue(name)
    }

    /// Connections of the listeners.
    pub fn connections(&self) -> Connections {
        self.families().connections.clone()
    }

    /// A limiter let a request pass, or not.
    pub fn limited(&self, limiter: &'static str, passed: bool) {
        let decision = if passed { "passed" } else { "refused" };
        self.families().decisions.get_or_create(&Decision { limiter, decision }).inc();
    }

    /// Somebody tried to sign in: `succeeded`, `refused` (wrong), `limited` (too many at once), `failed` (ours).
    pub fn login<T>(&self, method: &'static str, result: &Result<T>) {
        let outcome = match result {
            Ok(_) => "succeeded",
            Err(error) => match error.kind {
                Kind::Unauthenticated(_) | Kind::Forbidden | Kind::NoScope(_) | Kind::Invalid => "refused",
                Kind::RateLimited(_) | Kind::OverBudget(_) => "limited",
                _ => "failed",
            },
        };
        self.families().logins.get_or_create(&families::Login { method, outcome }).inc();
    }

    /// How long the store took for something: `begin` (until writing may begin), `heartbeat` (one small write), `ping`.
    pub fn store_took(&self, db_operation_name: &'static str, time: Duration) {
        let labels = StoreOperation { db_operation_name };
        self.families().store_seconds.get_or_create(&labels).observe(time.as_secs_f64());
    }

    /// A round of the reconciler: rows settled, rows that could not be.
    pub fn reconciled(&self, went: Went, settled: usize, failed: usize) {
        let families = self.families();
        families.rounds.get_or_create(&Outcome { outcome: went.word() }).inc();
        families.settled_rows.get_or_create(&Outcome { outcome: "settled" }).inc_by(settled as u64);
        families.settled_rows.get_or_create(&Outcome { outcome: "failed" }).inc_by(failed as u64);
        if went == Went::Well {
            families.last_round.set(process::now());
        }
    }

    /// Objects that nobody owned were removed.
    pub fn orphans_removed(&self, gone: usize) {
        self.families().orphans.inc_by(gone as u64);
    }

    /// The configuration was read again.
    pub fn reloaded(&self, went: Went) {
        let families = self.families();
        families.reload_went_well.set(i64::from(went == Went::Well));
        families.reloads.get_or_create(&Outcome { outcome: went.word() }).inc();
        if went == Went::Well {
            families.last_reload.set(process::now());
        }
    }

    /// Until when a listener's certificate is good, in seconds since 1970.
    pub fn certificate(&self, listener: String, not_after: i64) {
        self.families().certificates.get_or_create(&families::Listener { listener }).set(not_after);
    }

    fn families(&self) -> &Families {
        &self.0.families
    }
}

impl Went {
    fn word(self) -> &'static str {
        match self {
            Self::Well => "ok",
            Self::Badly => "failed",
        }
    }
}

/// A request that runs.
pub struct InFlight {
    metrics: Metrics,
    method: &'static str,
    route: String,
    begun: Instant,
    ended: bool,
}

impl InFlight {
    /// How long it has run.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// It was answered; `error` is the type of the error's envelope.
    pub fn answered(mut self, status: u16, error: &'static str) {
        self.ended = true;
        self.observe(status, error);
    }

    fn observe(&self, http_response_status_code: u16, error_type: &'static str) {
        let labels = Request {
            http_request_method: self.method,
            http_route: self.route.clone(),
            http_response_status_code,
            error_type,
        };
        self.metrics.families().requests.get_or_create(&labels).observe(self.elapsed().as_secs_f64());
    }
}

/// A client that hung up before there was an answer, in the words of nginx.
pub const CLIENT_LEFT: u16 = 499;

impl Drop for InFlight {
    fn drop(&mut self) {
        self.metrics.families().active_requests.dec();
        if !self.ended {
            self.observe(CLIENT_LEFT, "client_left");
        }
    }
}

struct Timed<'a> {
    metrics: &'a Metrics,
    call: &'a str,
    begun: Instant,
    outcome: &'static str,
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        let labels = Call { call: self.call.to_owned(), outcome: self.outcome };
        self.metrics.families().podman_seconds.get_or_create(&labels).observe(self.begun.elapsed().as_secs_f64());
    }
}

/// OpenTelemetry: whatever is no method of HTTP's own is `_OTHER`.
fn known_method(method: &str) -> &'static str {
    const KNOWN: &[&str] = &["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    KNOWN.iter().find(|known| **known == method).copied().unwrap_or("_OTHER")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_nobody_waited_for_counts() {
        let metrics = Metrics::new();
        drop(metrics.request("BREW", "/x"));
        metrics.request("GET", "/x").answered(404, "PodmanAPIError");
        let text = metrics.text().unwrap();
        let line = |method: &str, status: u16, error: &str| {
            format!(
                "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",http_route=\"/x\",\
                 http_response_status_code=\"{status}\",error_type=\"{error}\"}} 1"
            )
        };
        assert!(text.contains(&line("_OTHER", 499, "client_left")), "{text}");
        assert!(text.contains(&line("GET", 404, "PodmanAPIError")), "{text}");
        assert!(text.contains("\nhttp_server_active_requests 0\n"), "{text}");
    }

    #[tokio::test]
    async fn a_call_that_was_given_up_counts() {
        let metrics = Metrics::new();
        let never = metrics.podman_call("GET info", std::future::pending::<Result<()>>());
        assert!(tokio::time::timeout(Duration::from_millis(5), never).await.is_err());
        let _ = metrics.podman_call("GET info", async { Ok(()) }).await;
        let text = metrics.text().unwrap();
        for outcome in ["ok", "abandoned"] {
            let line =
                format!("podgate_podman_call_duration_seconds_count{{call=\"GET info\",outcome=\"{outcome}\"}} 1");
            assert!(text.contains(&line), "{text}");
        }
    }
}
