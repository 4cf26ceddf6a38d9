//! The layers around every request, one a file.

mod audit;
mod cors;
mod envelope;
mod head;
mod idempotency;
mod identify;
mod limits;
mod oauth;
mod observe;
mod peer;
mod syntax;
mod trace;
mod untaken;
mod upgrade;

use std::sync::Arc;

use poem::{Endpoint, EndpointExt};

use crate::api::BodyLimits;
use crate::api::contract::Contract;
use crate::auth::Authenticator;
use crate::config::{Live, Network};
use crate::domain::World;
use crate::limit::Budgets;
use crate::metrics::Metrics;
use crate::store::Store;

pub use idempotency::Idempotency;

/// What the layers work with.
pub struct Parts {
    /// The published document.
    pub contract: Arc<Contract>,
    /// Recognises tokens.
    pub auth: Authenticator,
    /// Has the audit log.
    pub store: Store,
    /// How fast anybody may ask.
    pub budgets: Arc<Budgets>,
    /// Whose forwarded headers are believed.
    pub trusted_proxies: Live<Vec<Network>>,
    /// Browser origins that may call.
    pub cors_origins: Live<Vec<String>>,
    /// Of every body.
    pub body_limits: Live<BodyLimits>,
    /// Keys of requests that may be sent again.
    pub idempotency: Idempotency,
    /// What is counted.
    pub metrics: Metrics,
    /// The clock, and request ids.
    pub world: World,
}

/// Wraps the application. The outermost layer stands last.
pub fn wrap(app: impl Endpoint + 'static, parts: Parts) -> impl Endpoint {
    let Parts {
        contract,
        auth,
        store,
        budgets,
        trusted_proxies,
        cors_origins,
        body_limits,
        idempotency,
        metrics,
        world,
    } = parts;
    app
        // What an answer holds, it holds until the client has it. Innermost, for operations put it there.
        .with(untaken::Untaken)
        // A request that was sent before is answered as it was then. Inside of the rest: whatever is checked, is checked
        // of the second as of the first.
        .with(idempotency)
        // Handshakes of WebSockets. Behind the document, which knows what is one, and behind the question who asks.
        .with(upgrade::Upgrades { origins: cors_origins.clone() })
        // What the document promises about paths, queries and body types, the same for everybody. After the limits,
        // so that guessing paths is not free.
        .with(syntax::Syntax)
        // How what was begun ended, and who was refused what. Inside of the envelope, because it wants to know why.
        .with(audit::Audit { store })
        // What failed further in becomes the envelope, panics too; from here on every outcome is a response.
        .with(envelope::Envelope { world })
        // A budget for each tenant and account, or for an address. After identification, because a valid token must not be
        // turned away for what its neighbours behind the same address did.
        .with(limits::Limits { budgets, metrics: metrics.clone(), world })
        // What fails before a form for a token is looked at, the limits too, is said in OAuth2's words.
        .with(oauth::OAuth)
        // Whose token it is. Before anything that depends on who asks.
        .with(identify::Identify { auth })
        // Browsers' preflights carry no token.
        .with(cors::Cors { origins: cors_origins })
        // Once more, for what failed in the layers themselves.
        .with(envelope::Envelope { world })
        // Outside of all that answers, so that a refusal has no body either.
        .with(head::Head)
        // Outermost: the request id that all others use, the one log line, and the measure of the whole.
        .with(observe::Observe { contract, body_limits, trusted_proxies, metrics, world })
}
