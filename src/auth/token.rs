//! Our own tokens: short-lived, saying who and nothing about what they may do.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode_header};
use rcgen::{KeyPair, PKCS_ED25519, PublicKeyData};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::unauthenticated;
use crate::config;
use crate::domain::{Error, Result, World};
use crate::store::SigningKey;

/// The `kid` of tokens that are signed with the operator's secret.
const SECRET_KID: &str = "hs256";

/// Signs and verifies tokens with this installation's keys.
#[derive(Clone)]
pub struct Tokens {
    shared: Arc<Shared>,
}

struct Shared {
    keys: RwLock<Arc<Keys>>,
    issuer: String,
    audience: String,
    leeway: u64,
    seconds: u64,
    world: World,
}

/// One key signs; all of them verify. All are of one algorithm, which no token's header has a say in (RFC 8725, 3.1).
struct Keys {
    algorithm: Algorithm,
    signing_kid: String,
    encoding: EncodingKey,
    decoding: HashMap<String, DecodingKey>,
    /// As a JWK set; empty where the key is a secret.
    public: Value,
}

/// A signed token and how long it is good for.
pub struct SignedToken {
    /// The JWT.
    pub token: String,
    /// Seconds.
    pub expires_in: u64,
}

/// Whom a token is for.
#[derive(Clone)]
pub struct Subject {
    /// The account's identifier.
    pub account_id: String,
    /// The session it was issued in.
    pub session_id: String,
    /// The account's epoch when it was issued.
    pub epoch: i64,
}

/// What was found out about a token.
pub struct Checked {
    kid: String,
    issued_at: i64,
    not_before: i64,
    expires: i64,
    subject: Subject,
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
    sid: String,
    epoch: i64,
}

impl Keys {
    /// Of the store, the one that signs first.
    fn of_store(keys: &[SigningKey]) -> Result<Self> {
        let newest = keys.first().ok_or_else(|| Error::internal("there is no signing key"))?;
        let mut decoding = HashMap::new();
        let mut public = Vec::new();
        let mut encoding = None;
        for key in keys {
            let pair = KeyPair::from_pem_and_sign_algo(&key.private_pem, &PKCS_ED25519).map_err(Error::internal)?;
            encoding.get_or_insert_with(|| EncodingKey::from_ed_der(&pair.serialize_der()));
            decoding.insert(key.id.clone(), DecodingKey::from_ed_der(pair.der_bytes()));
            public.push(json!({
                "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key.id,
                "x": URL_SAFE_NO_PAD.encode(pair.der_bytes()),
            }));
        }
        Ok(Self {
            algorithm: Algorithm::EdDSA,
            signing_kid: newest.id.clone(),
            encoding: encoding.ok_or_else(|| Error::internal("there is no signing key"))?,
            decoding,
            public: json!({"keys": public}),
        })
    }

    fn of_secret(secret: &config::Secret<Vec<u8>>) -> Self {
        let secret = secret.expose();
        Self {
            algorithm: Algorithm::HS256,
            signing_kid: SECRET_KID.into(),
            encoding: EncodingKey::from_secret(secret),
            decoding: HashMap::from([(SECRET_KID.into(), DecodingKey::from_secret(secret))]),
            public: json!({"keys": []}),
        }
    }
}

impl Tokens {
    /// With the operator's secret, else with the keys of the store.
    pub fn new(config: &config::Auth, keys: &[SigningKey], world: World) -> Result<Self> {
        let keys = match &config.hs256_secret {
            Some(secret) => Keys::of_secret(secret),
            None => Keys::of_store(keys)?,
        };
        Ok(Self {
            shared: Arc::new(Shared {
                keys: RwLock::new(Arc::new(keys)),
                issuer: config.issuer.clone(),
                audience: config.audience.clone(),
                leeway: config.leeway_seconds,
                seconds: config.token_seconds,
                world,
            }),
        })
    }

    /// Takes over the store's keys as they are now. Nothing where a secret signs.
    pub fn renew(&self, keys: &[SigningKey]) -> Result<()> {
        if self.keys().algorithm == Algorithm::EdDSA {
            let keys = Arc::new(Keys::of_store(keys)?);
            *self.shared.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        }
        Ok(())
    }

    /// How long after its signature a token may be taken, in milliseconds.
    pub fn good_for_ms(&self) -> i64 {
        i64::try_from((self.shared.seconds + self.shared.leeway).saturating_mul(1000)).unwrap_or(i64::MAX)
    }

    /// The public keys as a JWK set (RFC 7517).
    pub fn public_keys(&self) -> Value {
        self.keys().public.clone()
    }

    fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.shared.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A fresh token.
    pub fn sign(&self, subject: Subject) -> Result<SignedToken> {
        let (shared, keys) = (&self.shared, self.keys());
        let now = (shared.world.now)().unix_timestamp();
        let claims = Claims {
            iss: shared.issuer.clone(),
            aud: shared.audience.clone(),
            sub: subject.account_id,
            jti: (shared.world.new_id)(),
            iat: now,
            nbf: now,
            exp: now.saturating_add_unsigned(shared.seconds),
            sid: subject.session_id,
            epoch: subject.epoch,
        };
        let header = Header { kid: Some(keys.signing_kid.clone()), ..Header::new(keys.algorithm) };
        let token = jsonwebtoken::encode(&header, &claims, &keys.encoding);
        Ok(SignedToken { token: token.map_err(Error::internal)?, expires_in: shared.seconds })
    }

    /// Whether a token says that a key signed it which we do not know, perhaps not yet. Beside a secret there are none.
    pub fn is_of_unknown_key(&self, token: &str) -> bool {
        let (kid, keys) = (decode_header(token).ok().and_then(|header| header.kid), self.keys());
        keys.algorithm == Algorithm::EdDSA && kid.is_some_and(|kid| !keys.decoding.contains_key(&kid))
    }

    /// Checks whether we signed a token and it is good now.
    pub fn check(&self, token: &str) -> Result<Checked> {
        let (shared, keys) = (&self.shared, self.keys());
        let kid = header(token)?.kid.unwrap_or_default();
        let key = keys.decoding.get(&kid).ok_or_else(|| unauthenticated("no key of ours"))?;
        let mut validation = Validation::new(keys.algorithm);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        validation.set_issuer(&[&shared.issuer]);
        validation.set_audience(&[&shared.audience]);
        validation.validate_nbf = true;
        validation.leeway = shared.leeway;
        let verified = jsonwebtoken::decode::<Claims>(token, key, &validation);
        let claims = verified.map_err(|error| refused(&error))?.claims;
        let checked = Checked {
            kid,
            issued_at: claims.iat,
            not_before: claims.nbf,
            expires: claims.exp,
            subject: Subject { account_id: claims.sub, session_id: claims.sid, epoch: claims.epoch },
        };
        if claims.jti.is_empty() || !self.is_in_time(&checked) {
            return Err(unauthenticated("jti empty or iat in the future"));
        }
        Ok(checked)
    }

    /// Whether what was found out holds still: the time, and the key.
    pub fn holds(&self, checked: &Checked) -> bool {
        self.keys().decoding.contains_key(&checked.kid) && self.is_in_time(checked)
    }

    /// A token issued in the future was signed by a clock that is wrong, or by nobody we know.
    fn is_in_time(&self, checked: &Checked) -> bool {
        let now = (self.shared.world.now)().unix_timestamp();
        let latest = now.saturating_add_unsigned(self.shared.leeway);
        checked.issued_at <= latest
            && checked.not_before <= latest
            && checked.expires > now.saturating_sub_unsigned(self.shared.leeway)
    }
}

impl Checked {
    /// Whom it names.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }
}

/// A token's header, of which everything but algorithm, type and the name of a key is ignored. Refused where it says that
/// something in it must not be ignored (RFC 7515, 4.1.11).
pub(super) fn header(token: &str) -> Result<Header> {
    let header = decode_header(token).map_err(|error| refused(&error))?;
    if header.crit.is_some() {
        return Err(unauthenticated("something critical that we do not know"));
    }
    Ok(header)
}

/// Why the library does not take a token.
pub(super) fn refused(error: &jsonwebtoken::errors::Error) -> Error {
    match error.kind() {
        ErrorKind::ExpiredSignature => Error { message: "the token has expired".into(), ..unauthenticated("expired") },
        other => unauthenticated("refused").because(format!("{other:?}")),
    }
}
