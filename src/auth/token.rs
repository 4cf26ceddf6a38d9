//! Our own tokens: EdDSA, short-lived, saying who and nothing about what they may do.

use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rcgen::PublicKeyData;
use serde::{Deserialize, Serialize};

use super::{key, unauthenticated};
use crate::config;
use crate::domain::{Error, Principal, Result, World};

/// Signs and verifies tokens with this installation's key.
#[derive(Clone)]
pub struct Tokens {
    shared: Arc<Shared>,
}

struct Shared {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    issuer: String,
    audience: String,
    seconds: u64,
    world: World,
}

/// A signed token and how long it is good for.
pub struct SignedToken {
    /// The JWT.
    pub token: String,
    /// Seconds.
    pub expires_in: u64,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    sub: String,
    jti: String,
    iat: i64,
    nbf: i64,
    exp: i64,
}

impl Tokens {
    /// Loads the signing key, or makes it.
    pub fn new(config: &config::Auth, world: World) -> Result<Self> {
        let pair = key::load_or_create(&config.signing_key_file)?;
        // The algorithm is fixed by the key; the token's header has no say (RFC 8725, 3.1).
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        validation.validate_nbf = true;
        validation.leeway = config.leeway_seconds;
        Ok(Self {
            shared: Arc::new(Shared {
                encoding: EncodingKey::from_ed_der(&pair.serialize_der()),
                decoding: DecodingKey::from_ed_der(pair.der_bytes()),
                validation,
                issuer: config.issuer.clone(),
                audience: config.audience.clone(),
                seconds: config.token_seconds,
                world,
            }),
        })
    }

    /// A fresh token for this account.
    pub fn sign(&self, principal: &Principal) -> Result<SignedToken> {
        let shared = &self.shared;
        let now = (shared.world.now)().unix_timestamp();
        let claims = Claims {
            iss: shared.issuer.clone(),
            aud: shared.audience.clone(),
            sub: principal.account_id.clone(),
            jti: (shared.world.new_id)(),
            iat: now,
            nbf: now,
            exp: now.saturating_add_unsigned(shared.seconds),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, &shared.encoding);
        Ok(SignedToken { token: token.map_err(Error::internal)?, expires_in: shared.seconds })
    }

    /// The account a token names, if we signed it and it is good now.
    pub fn verify(&self, token: &str) -> Result<String> {
        let shared = &self.shared;
        let verified = jsonwebtoken::decode::<Claims>(token, &shared.decoding, &shared.validation);
        let claims = verified.map_err(|error| match error.kind() {
            ErrorKind::ExpiredSignature => {
                Error { message: "the token has expired".into(), ..unauthenticated("expired") }
            }
            other => unauthenticated("refused").because(format!("{other:?}")),
        })?;
        let claims = claims.claims;
        // A token issued in the future was signed by a clock that is wrong, or by nobody we know.
        let latest = (shared.world.now)().unix_timestamp().saturating_add_unsigned(shared.validation.leeway);
        if claims.jti.is_empty() || claims.iat > latest {
            return Err(unauthenticated("jti empty or iat in the future"));
        }
        Ok(claims.sub)
    }
}
