//! SIGHUP: the configuration is read again, and taken over whole or not at all.

use std::sync::Arc;

use tokio::signal::unix::Signal;

use crate::api::BodyLimits;
use crate::auth::Authenticator;
use crate::config::{Config, Live, Mistakes, Network};
use crate::limit::Budgets;
use crate::metrics::{Metrics, Went};
use crate::policy::Policy;
use crate::serve::Certificate;
use crate::store::Store;

/// Where a configuration comes from, and where its log level goes.
pub struct Source {
    /// Reads it as at the start.
    pub read: Box<dyn Fn() -> Result<Config, Mistakes> + Send + Sync>,
    /// Takes a filter that the configuration has checked.
    pub set_log_level: Box<dyn Fn(&str) + Send + Sync>,
    /// When to read it again.
    pub hangups: Signal,
}

/// All that can be exchanged while requests are served.
pub(super) struct Reloads {
    pub(super) source: Source,
    pub(super) started_with: Config,
    pub(super) metrics: Metrics,
    pub(super) store: Store,
    pub(super) auth: Authenticator,
    pub(super) policy: Policy,
    pub(super) budgets: Arc<Budgets>,
    pub(super) trusted_proxies: Live<Vec<Network>>,
    pub(super) cors_origins: Live<Vec<String>>,
    pub(super) body_limits: Live<BodyLimits>,
    pub(super) certificates: Vec<Arc<Certificate>>,
}

impl Reloads {
    /// Reads the configuration again at every SIGHUP, for ever.
    pub(super) async fn run(mut self) {
        while self.source.hangups.recv().await.is_some() {
            let went = self.reload().await;
            self.metrics.reloaded(went);
        }
    }

    async fn reload(&self) -> Went {
        let new = match (self.source.read)() {
            Ok(new) => new,
            Err(mistakes) => {
                tracing::error!("the configuration was not taken over; the old one stays: {mistakes}");
                return Went::Badly;
            }
        };
        // All are looked at before one of them changes.
        for certificate in &self.certificates {
            if let Err(error) = certificate.check().await {
                tracing::error!(%error, "the configuration was not taken over; the old one stays");
                return Went::Badly;
            }
        }
        for certificate in &self.certificates {
            if let Err(error) = certificate.reload().await {
                tracing::error!(%error, "a certificate changed while it was read; the old one stays");
            }
        }
        (self.source.set_log_level)(&new.log.level);
        self.budgets.set_rates(&new.limits);
        self.auth.limit_sign_ins(&new.limits.sign_ins);
        self.trusted_proxies.set(new.limits.trusted_proxies.clone());
        self.cors_origins.set(new.http.cors_origins.clone());
        self.body_limits.set(super::body_limits(&new, self.body_limits.get().large.clone()));
        self.store.set_default_quotas(new.quotas.defaults.clone());
        self.policy.reload(&new);
        let waits = self.started_with.needs_restart(&new);
        if waits.is_empty() {
            tracing::info!("the configuration was taken over");
        } else {
            let keys = waits.join(", ");
            tracing::warn!(keys, "the configuration was taken over, but these keys hold only after a restart");
        }
        Went::Well
    }
}
