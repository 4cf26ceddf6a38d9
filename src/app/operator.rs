//! What only the operator sees: metrics, and probes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use poem::http::header;
use poem::{Endpoint, EndpointExt, Response, Route, endpoint::make_sync, get};

use crate::config::{Config, Http, Listen};
use crate::domain::{Error, Kind, Result};
use crate::engine::Engine;
use crate::metrics::{CONTENT_TYPE, Metrics, Scrape};
use crate::policy::Policy;
use crate::serve::Certificate;
use crate::store::Store;

/// How often what is looked up is looked up where the API tells it: its callers must not make Podman work.
const EVERY: Duration = Duration::from_secs(5);

/// Most connections of the operator's listener.
const CONNECTIONS: usize = 64;

/// For how long an answer of `/readyz` is given again: anybody may ask for it, as often as they like.
const READY_KEPT: Duration = Duration::from_secs(1);

/// Whatever can be asked how it is.
#[derive(Clone)]
pub(super) struct Watch {
    pub(super) store: Store,
    pub(super) engine: Engine,
    pub(super) policy: Policy,
    pub(super) metrics: Metrics,
    pub(super) certificates: Arc<Vec<(SocketAddr, Arc<Certificate>)>>,
}

impl Watch {
    /// Whether requests can be served: the store and Podman answer. However they fail to, it is not the request's fault.
    async fn ready(&self) -> Result<()> {
        self.store.ping().await.map_err(|error| error.said(Kind::StoreDown, "the store does not answer"))?;
        self.engine.ping().await.map_err(|error| error.said(Kind::EngineDown, "Podman does not answer"))
    }

    /// Looks up what is not counted all along.
    async fn look(&self) {
        let (podman, store) = tokio::join!(self.engine.ping(), self.store.ping());
        let census = match &store {
            Ok(()) => self.store.census().await.unwrap_or_default(),
            Err(_) => Default::default(),
        };
        let audit = self.store.audit_state();
        let (execs, streams) = self.policy.momentary();
        let good_until = |(address, certificate): &(SocketAddr, Arc<Certificate>)| {
            Some((address.to_string(), certificate.not_after()?))
        };
        self.metrics.found(Scrape {
            podman: podman.is_ok(),
            store: store.is_ok(),
            audit_writable: audit.works,
            audit_kept: audit.kept,
            disk_full: self.store.is_disk_full(),
            events: self.engine.hears_events(),
            wedged: self.engine.wedged(),
            sizes: self.engine.queue_sizes(),
            execs,
            streams,
            containers: census.containers,
            records: census.records,
            certificates: self.certificates.iter().filter_map(good_until).collect(),
        });
    }

    /// Looks it up again and again, for ever.
    pub(super) async fn keep_looking(self) {
        loop {
            self.look().await;
            tokio::time::sleep(EVERY).await;
        }
    }
}

/// The addresses of the operator's listener: one or none.
pub(super) fn listen(config: &Config) -> Vec<Listen> {
    config.operator.listen.iter().cloned().collect()
}

/// The same for the operator's listener: nobody but the operator needs connections there.
pub(super) fn few_connections(http: &Http) -> Http {
    Http { max_connections: http.max_connections.min(CONNECTIONS), ..http.clone() }
}

/// Every path of the operator's listener.
pub(super) fn routes(watch: Watch) -> impl Endpoint {
    let scraped = watch.clone();
    let metrics = poem::endpoint::make(move |_| {
        let watch = scraped.clone();
        async move {
            watch.look().await;
            let text = watch.metrics.text()?;
            Ok::<_, poem::Error>(Response::builder().header(header::CONTENT_TYPE, CONTENT_TYPE).body(text))
        }
    });
    Route::new()
        .at("/metrics", get(metrics))
        .at("/livez", get(make_sync(|_| super::probe("alive"))))
        .at("/readyz", get(readiness(watch)))
        .map_to_response()
}

/// When it was looked whether requests can be served, and why not.
type Looked = (Instant, Option<Error>);

/// The answer of `/readyz`. Whoever asks while it is looked up, and within a second, gets the same.
pub(super) fn readiness(watch: Watch) -> impl Endpoint<Output = Response> {
    let last: Arc<Mutex<Option<Looked>>> = Arc::default();
    poem::endpoint::make(move |_| {
        let (watch, last) = (watch.clone(), Arc::clone(&last));
        async move {
            let mut last = last.lock().await;
            let known = last.as_ref().filter(|(looked, _)| looked.elapsed() < READY_KEPT);
            let why = match known {
                Some((_, why)) => why.as_ref().map(Error::again),
                None => {
                    let why = watch.ready().await.err();
                    let again = why.as_ref().map(Error::again);
                    *last = Some((Instant::now(), why));
                    again
                }
            };
            why.map_or_else(|| Ok(super::probe("ready")), |why| Err(poem::Error::from(why)))
        }
    })
}
