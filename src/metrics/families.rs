//! Every metric, its name and its labels.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use super::queue::Queue;
use super::{Connections, process};

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $kind:ty),* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name {
            $(pub(super) $field: $kind,)*
        }
    )*};
}

labels! {
    Request {
        http_request_method: &'static str,
        http_route: String,
        http_response_status_code: u16,
        error_type: &'static str
    }
    Call { call: String, outcome: &'static str }
    Decision { limiter: &'static str, decision: &'static str }
    Login { method: &'static str, outcome: &'static str }
    StoreOperation { db_operation_name: &'static str }
    Outcome { outcome: &'static str }
    Listener { listener: String }
    Named { queue: &'static str }
    State { state: &'static str }
    Kept { kind: &'static str }
    Build { version: &'static str }
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// Seconds, as OpenTelemetry advises for `http.server.request.duration`.
fn request_seconds() -> Histogram {
    Histogram::new([0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0])
}

/// Seconds, as OpenTelemetry advises for `db.client.operation.duration`.
fn store_seconds() -> Histogram {
    Histogram::new([0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0])
}

pub(super) struct Families {
    pub(super) requests: Seconds<Request>,
    pub(super) active_requests: Gauge,
    pub(super) podman_seconds: Seconds<Call>,
    pub(super) podman_up: Gauge,
    pub(super) events_heard: Gauge,
    pub(super) wedged: Gauge,
    queue_seconds: Seconds<Named>,
    queue_waiting: Family<Named, Gauge>,
    queue_running: Family<Named, Gauge>,
    pub(super) queue_size: Family<Named, Gauge>,
    pub(super) streams: Gauge,
    pub(super) execs: Gauge,
    pub(super) connections: Connections,
    pub(super) decisions: Family<Decision, Counter>,
    pub(super) logins: Family<Login, Counter>,
    pub(super) store_seconds: Seconds<StoreOperation>,
    pub(super) store_up: Gauge,
    pub(super) audit_writable: Gauge,
    pub(super) audit_kept: Gauge,
    pub(super) disk_full: Gauge,
    pub(super) containers: Family<State, Gauge>,
    pub(super) kept: Family<Kept, Gauge>,
    pub(super) rounds: Family<Outcome, Counter>,
    pub(super) settled_rows: Family<Outcome, Counter>,
    pub(super) last_round: Gauge,
    pub(super) orphans: Counter,
    pub(super) certificates: Family<Listener, Gauge>,
    pub(super) reloads: Family<Outcome, Counter>,
    pub(super) reload_went_well: Gauge,
    pub(super) last_reload: Gauge,
}

impl Families {
    /// All of them, under their names. Of what an alert may look at, every series is there from the start: a rate over
    /// a series that begins with its first event does not see that event.
    pub(super) fn registered(registry: &mut Registry) -> Self {
        let families = Self {
            requests: seconds(registry, "http_server_request_duration_seconds", REQUESTS, request_seconds),
            active_requests: put(registry, "http_server_active_requests", "Requests that run now", Gauge::default()),
            podman_seconds: seconds(registry, "podgate_podman_call_duration_seconds", CALLS, request_seconds),
            podman_up: put(registry, "podgate_podman_up", "Whether Podman answered just now", Gauge::default()),
            events_heard: put(registry, "podgate_podman_events_heard", EVENTS, Gauge::default()),
            wedged: put(registry, "podgate_wedged_containers", WEDGED, Gauge::default()),
            queue_seconds: seconds(
                registry,
                "podgate_queue_wait_seconds",
                "How long a place was waited for",
                request_seconds,
            ),
            queue_waiting: put(registry, "podgate_queue_waiting", "Who waits for a place now", Family::default()),
            queue_running: put(registry, "podgate_queue_running", "Places taken now", Family::default()),
            queue_size: put(registry, "podgate_queue_size", "Places in all", Family::default()),
            streams: put(registry, "podgate_open_streams", "Streams and terminals open now", Gauge::default()),
            execs: put(registry, "podgate_running_execs", "Commands running in containers now", Gauge::default()),
            connections: connections(registry),
            decisions: put(registry, "podgate_rate_limit_decisions", DECISIONS, Family::default()),
            logins: put(registry, "podgate_logins", "Attempts to sign in", Family::default()),
            store_seconds: seconds(registry, "db_client_operation_duration_seconds", STORE, store_seconds),
            store_up: put(registry, "podgate_store_up", "Whether the store answered just now", Gauge::default()),
            audit_writable: put(registry, "podgate_audit_writable", AUDIT, Gauge::default()),
            audit_kept: put(registry, "podgate_audit_rows_kept", AUDIT_KEPT, Gauge::default()),
            disk_full: put(registry, "podgate_store_disk_full", DISK_FULL, Gauge::default()),
            containers: put(
                registry,
                "podgate_containers",
                "Containers of the ledger, by their state there",
                Family::default(),
            ),
            kept: put(registry, "podgate_records", "Other rows of the store", Family::default()),
            rounds: put(registry, "podgate_reconcile_rounds", "Rounds of the reconciler", Family::default()),
            settled_rows: put(registry, "podgate_reconcile_rows", ROWS, Family::default()),
            last_round: put(registry, "podgate_reconcile_last_success_timestamp_seconds", LAST_ROUND, Gauge::default()),
            orphans: put(registry, "podgate_orphans_removed", ORPHANS, Counter::default()),
            certificates: put(
                registry,
                "podgate_certificate_not_after_timestamp_seconds",
                NOT_AFTER,
                Family::default(),
            ),
            reloads: put(
                registry,
                "podgate_config_reloads",
                "Readings of the configuration on SIGHUP",
                Family::default(),
            ),
            reload_went_well: put(registry, "podgate_config_last_reload_successful", RELOADED, Gauge::default()),
            last_reload: put(
                registry,
                "podgate_config_last_reload_success_timestamp_seconds",
                LAST_RELOAD,
                Gauge::default(),
            ),
        };
        let build = put(registry, "podgate_build_info", "The program; always 1", Family::<Build, Gauge>::default());
        build.get_or_create(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        families.begin();
        families
    }

    fn begin(&self) {
        for limiter in ["tenant", "account", "address"] {
            for decision in ["passed", "refused"] {
                drop(self.decisions.get_or_create(&Decision { limiter, decision }));
            }
        }
        for outcome in ["succeeded", "refused", "limited", "failed"] {
            drop(self.logins.get_or_create(&Login { method: "password", outcome }));
        }
        for outcome in ["ok", "failed"] {
            drop(self.rounds.get_or_create(&Outcome { outcome }));
            drop(self.reloads.get_or_create(&Outcome { outcome }));
        }
        for outcome in ["settled", "failed"] {
            drop(self.settled_rows.get_or_create(&Outcome { outcome }));
        }
        // The first reading of the configuration went well, or nobody would run.
        self.reload_went_well.set(1);
        self.last_reload.set(process::now());
    }

    pub(super) fn queue(&self, name: &'static str) -> Queue {
        let labels = Named { queue: name };
        Queue {
            seconds: self.queue_seconds.get_or_create_owned(&labels),
            waiting: self.queue_waiting.get_or_create_owned(&labels),
            running: self.queue_running.get_or_create_owned(&labels),
        }
    }
}

const REQUESTS: &str = "Seconds from a request's head to its answer's head; status 499: the client left before";
const CALLS: &str = "Seconds that calls to Podman took; abandoned: the deadline came, or the caller left";
const EVENTS: &str = "Whether Podman's events are heard; while not, every read asks Podman";
const WEDGED: &str = "Containers that Podman does not answer for; restarting Podman's service frees them";
const DECISIONS: &str = "Requests that a rate limit let pass or refused";
const STORE: &str =
    "Seconds that the store took: begin until a write may begin, heartbeat for a small write, ping for a read";
const AUDIT: &str = "Whether the audit log and its copy could be written the last time; if not, changes are refused";
const AUDIT_KEPT: &str = "Rows of the audit log that wait in memory until they can be written";
const DISK_FULL: &str = "Whether the store's disk has too little room, so that changes are refused";
const ROWS: &str = "Half-made or half-removed rows that the reconciler settled, or could not";
const LAST_ROUND: &str = "When the reconciler last settled everything, seconds since 1970";
const ORPHANS: &str = "Objects in Podman with our label that nobody owned";
const NOT_AFTER: &str = "Until when a listener's certificate is good, seconds since 1970";
const RELOADED: &str = "Whether the configuration could be read the last time it was asked for";
const LAST_RELOAD: &str = "When the configuration was last taken over, seconds since 1970";

fn put<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

fn seconds<L>(registry: &mut Registry, name: &str, help: &str, buckets: fn() -> Histogram) -> Seconds<L>
where
    L: EncodeLabelSet + std::fmt::Debug + Clone + std::hash::Hash + Eq + Send + Sync + 'static,
{
    put(registry, name, help, Family::new_with_constructor(buckets))
}

fn connections(registry: &mut Registry) -> Connections {
    let found = Connections::default();
    registry.register("podgate_open_connections", "Connections open now", found.open.clone());
    let refused = "Connections refused because their address has its share";
    registry.register("podgate_connections_refused", refused, found.refused.clone());
    let failed = "TLS handshakes that failed or took too long";
    registry.register("podgate_tls_handshakes_failed", failed, found.failed_handshakes.clone());
    found
}
