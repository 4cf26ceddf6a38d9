//! Wiring: from a configuration to a running gateway.

mod first_look;
mod notify;
mod operator;
mod reload;

use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use poem::http::header;
use poem::{Body, Endpoint, EndpointExt, Request, Response, Route, endpoint::make_sync, get};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::api::contract::{Contract, SPECIFICATION};
use crate::api::{self, BodyLimits, Context, LargeBodies, Terminals};
use crate::auth::Authenticator;
use crate::config::{Config, Live};
use crate::domain::{Error, Kind, Result, World};
use crate::engine::Engine;
use crate::lifecycle::{FailPoint, Lifecycle};
use crate::limit::Budgets;
use crate::metrics::{Connections, Metrics};
use crate::middleware::{self, Idempotency, Parts};
use crate::policy::Policy;
use crate::policy::grant::SystemGrant;
use crate::store::Store;
use crate::streams::Streams;
use crate::{docs, jobs, serve};

use operator::Watch;
use reload::Reloads;
pub use reload::Source;

/// The clock and identifiers of the real world: the one place that asks the system for them.
#[allow(clippy::disallowed_methods)]
pub fn world() -> World {
    World { now: OffsetDateTime::now_utc, new_id: || uuid::Uuid::new_v4().simple().to_string() }
}

/// What the gateway and the command line share.
pub struct Opened {
    /// The database.
    pub store: Store,
    /// Passwords and tokens.
    pub auth: Authenticator,
    /// What is counted.
    pub metrics: Metrics,
}

/// Opens the store, and makes the data directory if it is missing.
pub async fn open(config: &Config, world: World) -> Result<Opened> {
    let metrics = Metrics::new();
    let store = open_store(config, metrics.clone(), world).await?;
    let auth = Authenticator::new(config, store.clone(), metrics.clone(), world).await?;
    Ok(Opened { store, auth, metrics })
}

/// The store alone.
pub(crate) async fn open_store(config: &Config, metrics: Metrics, world: World) -> Result<Store> {
    make_private_dir(&config.data_dir)?;
    let gateway = gateway_id(&config.data_dir, world)?;
    Store::open(&config.store, gateway, config.quotas.defaults.clone(), metrics, world).await
}

/// Makes a directory that is for its owner only.
pub(crate) fn make_private_dir(dir: &Path) -> Result<()> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| Error::internal(format!("data_dir {}: {error}", dir.display())))
}

/// Who this gateway is among those over one store: made once, and the same after a crash, so that it takes up its own
/// half-made containers at once.
fn gateway_id(data_dir: &Path, world: World) -> Result<String> {
    use std::io::Write;
    let path = data_dir.join("gateway-id");
    let failed = |error: std::io::Error| Error::internal(format!("{}: {error}", path.display()));
    match std::fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => return Ok(id.trim().to_owned()),
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let temporary = data_dir.join(format!("gateway-id.{}", std::process::id()));
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&temporary);
    file.and_then(|mut file| file.write_all((world.new_id)().as_bytes())).map_err(failed)?;
    // Whoever is first has it made.
    let _ = std::fs::hard_link(&temporary, &path);
    std::fs::remove_file(&temporary).map_err(failed)?;
    std::fs::read_to_string(&path).map_err(failed)
}

/// One gateway at a time works on a data directory: two would take each other's half-made containers for what a crash
/// left. Held until the file is dropped, or the process ends, however it ends.
pub(crate) fn lock(data_dir: &Path) -> Result<std::fs::File> {
    let path = data_dir.join("serve.lock");
    let failed = |error: &dyn std::fmt::Display| Error::internal(format!("{}: {error}", path.display()));
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(&path).map_err(|error| failed(&error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(Error::new(Kind::Conflict, format!("another gateway works on {}", data_dir.display())))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(failed(&error)),
    }
}

/// The program's own profile; `scripts/seccomp` makes it.
const SECCOMP: &str = include_str!("../config/seccomp.json");

/// The program's own profile, for a Podman that sees the same files.
fn write_seccomp(path: &Path) -> Result<()> {
    use std::io::Write;
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(SECCOMP.as_bytes()));
    written.map_err(|error| Error::internal(format!("{}: {error}", path.display())))
}

/// The published document. Needs no store and no Podman: nothing is called.
pub fn document() -> Result<Value> {
    api::document()
}

fn body_limits(config: &Config, large: LargeBodies) -> BodyLimits {
    BodyLimits {
        max_bytes: config.http.max_body_bytes,
        max_file_bytes: config.http.max_file_body_bytes,
        deadline: Duration::from_secs(config.http.body_deadline_seconds),
        max_transfer_bytes: config.http.max_transfer_bytes,
        transfer_idle: Duration::from_secs(config.http.transfer_idle_seconds),
        large,
    }
}

/// Serves until `shutdown`, then drains. Reads the configuration again from `source` when that tells.
pub async fn serve(config: Config, source: Source, world: World, shutdown: impl Future<Output = ()>) -> Result<()> {
    make_private_dir(&config.data_dir)?;
    // Before the store is opened: it may be about to become another one.
    let _lock = lock(&config.data_dir)?;
    let Opened { store, auth, metrics } = open(&config, world).await?;
    if config.engine.seccomp_is_ours {
        write_seccomp(&config.engine.seccomp_path)?;
    }
    store.begin_audit(&config.audit).await?;
    let unusable = |error: serve::ServeError| Error::invalid(error.to_string());
    let http = serve::fitted(&config.http);
    let bound = serve::bind(&config.listen).await.map_err(unusable)?;
    let for_operator = serve::bind(&operator::listen(&config)).await.map_err(unusable)?;
    let installation = store.installation().await?;
    let agent = &config.agent_path;
    let engine =
        Engine::new(&config.engine, &config.images, &config.output, agent, metrics.clone(), &installation, world)
            .of_gateway(store.gateway());
    let fail_point = FailPoint::new(config.fail_point.as_deref());
    let lifecycle = Lifecycle::new(store.clone(), engine.clone(), installation, fail_point, config.own_ports());
    let budgets = Arc::new(Budgets::new(&config.limits));
    let policy = Policy::new(&config, store.clone());
    let certified = bound.iter().filter_map(|one| Some((one.local_addr(), one.certificate()?)));
    let watch = Watch {
        store: store.clone(),
        engine: engine.clone(),
        policy: policy.clone(),
        metrics: metrics.clone(),
        certificates: Arc::new(certified.collect()),
    };
    let streams = Streams::new(policy.clone(), auth.clone());
    let context = Context {
        auth: auth.clone(),
        policy: policy.clone(),
        streams: streams.clone(),
        terminals: Terminals::default(),
        terminal_idle: config.terminal_idle,
        store: store.clone(),
        lifecycle: lifecycle.clone(),
        engine: engine.clone(),
        world,
        metrics: config.operator.metrics_in_api.then(|| metrics.clone()),
        started: Instant::now(),
    };
    let idempotency = Idempotency { store: store.clone(), kept: config.idempotency.kept, tasks: TaskTracker::new() };
    let begun = idempotency.tasks.clone();
    let parts = Parts {
        contract: Arc::new(Contract::new(&document()?)?),
        auth: auth.clone(),
        store: store.clone(),
        budgets: Arc::clone(&budgets),
        idempotency,
        trusted_proxies: Live::new(config.limits.trusted_proxies.clone()),
        cors_origins: Live::new(config.http.cors_origins.clone()),
        body_limits: Live::new(body_limits(&config, LargeBodies::default())),
        metrics: metrics.clone(),
        world,
    };
    let reloads = Reloads {
        source,
        started_with: config.clone(),
        metrics: metrics.clone(),
        store: store.clone(),
        auth: auth.clone(),
        policy,
        budgets: Arc::clone(&budgets),
        trusted_proxies: parts.trusted_proxies.clone(),
        cors_origins: parts.cors_origins.clone(),
        body_limits: parts.body_limits.clone(),
        certificates: watch.certificates.iter().map(|(_, certificate)| Arc::clone(certificate)).collect(),
    };
    let endpoint = middleware::wrap(routes(context, watch.clone())?, parts);
    store.beat().await?;
    let upkeep = SystemGrant::for_upkeep();
    first_look::look(&lifecycle, &upkeep, &metrics).await;
    let mut jobs = JoinSet::new();
    jobs.spawn(jobs::follow_events(lifecycle.clone(), upkeep.clone()));
    jobs.spawn(jobs::watch(lifecycle.clone(), upkeep.clone()));
    jobs.spawn(jobs::measure(lifecycle.clone(), upkeep.clone(), config.engine.survey_every));
    jobs.spawn(jobs::reconcile(lifecycle.clone(), upkeep.clone(), metrics.clone()));
    jobs.spawn(jobs::sweep(lifecycle.clone(), upkeep));
    jobs.spawn({
        let auth = auth.clone();
        async move { auth.read_foreign_keys().await }
    });
    if let Some(keep) = config.audit.keep {
        jobs.spawn(jobs::prune_audit(store.clone(), keep));
    }
    let last = store.clone();
    jobs.spawn(jobs::beat(store, auth.clone(), config.idempotency));
    jobs.spawn(jobs::check_streams(streams.clone()));
    jobs.spawn(jobs::tell_events(lifecycle.clone()));
    jobs.spawn(jobs::read_own_rates(last.clone(), Arc::clone(&budgets)));
    jobs.spawn(jobs::forget_idle_budgets(budgets, auth));
    jobs.spawn(reloads.run());
    if config.operator.metrics_in_api {
        jobs.spawn(watch.clone().keep_looking());
    }
    for listener in &for_operator {
        tracing::info!("metrics and probes are on http://{}", listener.local_addr());
    }
    for listener in &bound {
        let scheme = if listener.is_tls() { "https" } else { "http" };
        tracing::info!("listening on {scheme}://{}", listener.local_addr());
    }
    notify::tell("READY=1");
    let shutdown = async {
        shutdown.await;
        notify::tell("STOPPING=1");
        // Before the server waits for what is open.
        streams.drain();
    };
    let for_few = operator::few_connections(&http);
    let cut = {
        // To the end: how the drain goes is worth watching, too.
        let watched = serve::run(
            for_operator,
            operator::routes(watch),
            &for_few,
            world,
            Connections::default(),
            std::future::pending(),
        );
        let served = serve::run(bound, endpoint, &http, world, metrics.connections(), shutdown);
        tokio::select! {
            cut = served => cut,
            _ = watched => 0,
        }
    };
    if cut > 0 {
        tracing::warn!(connections = cut, "connections were cut after the drain's time");
    }
    jobs.shutdown().await;
    begun.close();
    begun.wait().await;
    lifecycle.finish().await;
    last.flush_audit().await;
    if let Err(error) = last.farewell().await {
        tracing::warn!(?error, "the store does not hear that this gateway ends");
    }
    tracing::info!("ended");
    Ok(())
}

/// Every path the gateway knows.
fn routes(context: Context, watch: Watch) -> Result<impl Endpoint> {
    // One copy, whoever is slow to take it.
    let spec = docs::Specification::new(&document()?)?;
    let auth = context.auth.clone();
    Ok(Route::new()
        .at("/", make_sync(|request: Request| docs::door(&request)))
        .at("/docs", docs::endpoint())
        .at("/docs/*file", docs::endpoint())
        .at("/livez", get(make_sync(|_| probe("alive"))))
        .at("/readyz", get(operator::readiness(watch)))
        .at("/.well-known/jwks.json", get(make_sync(move |_| json(auth.public_keys().to_string()))))
        .at(format!("{}{SPECIFICATION}", api::PREFIX), make_sync(move |request: Request| spec.answer(&request)))
        .nest(api::PREFIX, api::service(context))
        .map_to_response())
}

fn probe(status: &str) -> Response {
    json(format!("{{\"status\":\"{status}\"}}"))
}

fn json(body: impl Into<Body>) -> Response {
    Response::builder().header(header::CONTENT_TYPE, "application/json").body(body)
}
