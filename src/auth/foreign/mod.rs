//! Tokens that identity providers sign: whose they are, by whose keys, and what their claims mean here.
//!
//! The provider is picked by `iss`, exactly, before anything is believed; only its keys are looked at then, so that a `kid`
//! of one provider says nothing to another (RFC 8725, 3.8). Every other hint of a header is ignored.

mod claims;
mod fetch;
mod keys;
mod source;

use std::collections::HashMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Validation;
use serde::Deserialize;
use serde_json::{Map, Value};

use self::claims::Claims;
use self::keys::{Found, KeySet};
use self::source::Source;
use super::token::{header, refused};
use super::unauthenticated;
use crate::config;
use crate::domain::{Result, World};
use crate::store::ForeignToken;

/// What a token may call itself: nothing, or what an access token is called (RFC 9068, 2.1). Providers sign other things
/// with the same keys, such as logout tokens.
const TYPES: [&str; 4] = ["jwt", "application/jwt", "at+jwt", "application/at+jwt"];

/// The providers that the operator trusts.
#[derive(Clone)]
pub struct Issuers {
    by_iss: Arc<HashMap<String, Provider>>,
    world: World,
}

struct Provider {
    config: config::Issuer,
    source: Arc<Source>,
}

/// What was found out about a token.
pub struct Checked {
    iss: String,
    keys: Arc<KeySet>,
    claims: Claims,
}

impl Checked {
    /// For the store, which knows whose account that is.
    pub fn token(&self) -> ForeignToken<'_> {
        let Claims { subject, issued_at, access, .. } = &self.claims;
        ForeignToken { issuer: &self.iss, subject, issued_at: *issued_at, access }
    }
}

impl Issuers {
    /// Reads nothing yet.
    pub fn new(configs: &[config::Issuer], world: World) -> Result<Self> {
        let provider = |config: &config::Issuer| {
            let source = Arc::new(Source::new(config)?);
            Ok((config.issuer.clone(), Provider { config: config.clone(), source }))
        };
        Ok(Self { by_iss: Arc::new(configs.iter().map(provider).collect::<Result<_>>()?), world })
    }

    /// Reads everybody's keys, so that the first token does not wait for them.
    pub async fn warm(&self) {
        for provider in self.by_iss.values() {
            // Why not, the source has logged.
            let _ = provider.source.keys().await;
        }
    }

    /// Whether a token says that one of these made it.
    pub fn claim(&self, token: &str) -> bool {
        !self.by_iss.is_empty() && iss(token).is_some_and(|iss| self.by_iss.contains_key(&iss))
    }

    /// Checks a token whole. `IssuerDown` if its provider's keys could never be read.
    pub async fn check(&self, token: &str) -> Result<Checked> {
        let unknown = || unauthenticated("no issuer that is known");
        let iss = iss(token).ok_or_else(unknown)?;
        let Provider { config, source } = self.by_iss.get(&iss).ok_or_else(unknown)?;
        let header = header(token)?;
        let typ = header.typ.as_deref().unwrap_or("JWT").to_ascii_lowercase();
        if !TYPES.contains(&typ.as_str()) {
            return Err(unauthenticated("not an access token by its typ"));
        }
        if !config.algorithms.contains(&header.alg) {
            return Err(unauthenticated("not an algorithm of this issuer"));
        }
        let mut keys = source.keys().await?;
        let kid = header.kid.as_deref();
        if matches!(keys.find(kid, header.alg), Found::Nothing) {
            keys = source.keys_beyond(&keys).await?;
        }
        let Found::Key(key) = keys.find(kid, header.alg) else {
            return Err(unauthenticated("no key of this issuer fits"));
        };
        let mut validation = Validation::new(header.alg);
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&config.audiences.iter().collect::<Vec<_>>());
        validation.validate_nbf = true;
        validation.leeway = config.leeway.unsigned_abs();
        let verified = jsonwebtoken::decode::<Map<String, Value>>(token, key, &validation).map_err(|e| refused(&e))?;
        let claims = Claims::parse(config, &verified.claims).map_err(|why| unauthenticated("refused").because(why))?;
        claims.check_time((self.world.now)().unix_timestamp(), config.leeway)?;
        Ok(Checked { iss, keys, claims })
    }

    /// Whether what was found out holds still: the time, and the keys.
    pub async fn holds(&self, checked: &Checked) -> Result<bool> {
        let Some(provider) = self.by_iss.get(&checked.iss) else { return Ok(false) };
        let keys = provider.source.keys().await?;
        let now = (self.world.now)().unix_timestamp();
        Ok(Arc::ptr_eq(&keys, &checked.keys) && checked.claims.check_time(now, provider.config.leeway).is_ok())
    }
}

/// Who a token says it is from. Nothing is believed yet.
fn iss(token: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Iss {
        iss: String,
    }
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<Iss>(&payload).ok().map(|found| found.iss)
}
