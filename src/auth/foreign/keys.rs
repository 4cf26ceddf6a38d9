//! A provider's public keys.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey};
use serde_json::Value;

/// Most keys of one provider that are looked at.
const MOST: usize = 100;

/// All keys that verify by an algorithm of the provider's list.
pub struct KeySet {
    keys: Vec<Key>,
    /// What they were read from.
    text: Vec<u8>,
}

struct Key {
    id: Option<String>,
    /// Those that fit its kind, its own word, and the list.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// What there is for a token.
pub enum Found<'a> {
    /// This one.
    Key(&'a DecodingKey),
    /// The key that the token names is for other algorithms.
    Misfit,
    /// None of that name, perhaps not yet; or several and no name.
    Nothing,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517), or one public key as PEM. What is of no use to us is passed over; fails if nothing is
    /// left, since a provider without a key could sign nothing.
    pub fn parse(text: Vec<u8>, listed: &[Algorithm]) -> Result<Self, String> {
        let keys = if text.trim_ascii_start().starts_with(b"-----BEGIN") {
            vec![pem(&text, listed).ok_or("no public key for one of the algorithms")?]
        } else {
            let set: Value = serde_json::from_slice(&text).map_err(|error| format!("no JSON: {error}"))?;
            let members = set["keys"].as_array().ok_or("no JWK set")?;
            members.iter().take(MOST).filter_map(|member| jwk(member, listed)).collect()
        };
        if keys.is_empty() {
            return Err("no key for one of the algorithms".into());
        }
        Ok(Self { keys, text })
    }

    /// Whether they were read from the same text.
    pub fn is_same(&self, other: &Self) -> bool {
        self.text == other.text
    }

    /// The key for a token with this `kid`. Keys without a name fit any; a token without one needs that there is no choice.
    pub fn find(&self, kid: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let named: Vec<&Key> = self.keys.iter().filter(|key| kid.is_some() && key.id.as_deref() == kid).collect();
        let is_named = !named.is_empty();
        let candidates = match kid {
            Some(_) if is_named => named,
            Some(_) => self.keys.iter().filter(|key| key.id.is_none()).collect(),
            None => self.keys.iter().collect(),
        };
        let mut fitting = candidates.into_iter().filter(|key| key.algorithms.contains(&algorithm));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Found::Key(&key.key),
            (None, _) if is_named => Found::Misfit,
            _ => Found::Nothing,
        }
    }
}

fn jwk(member: &Value, listed: &[Algorithm]) -> Option<Key> {
    // Encryption keys, secrets, and kinds that we do not know.
    let jwk: Jwk = serde_json::from_value(member.clone()).ok()?;
    let common = &jwk.common;
    if common.public_key_use.as_ref().is_some_and(|is_for| *is_for != PublicKeyUse::Signature)
        || common.key_operations.as_ref().is_some_and(|operations| !operations.contains(&KeyOperations::Verify))
    {
        return None;
    }
    let fitting: &[Algorithm] = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => AlgorithmFamily::Rsa.algorithms(),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => &[Algorithm::ES256],
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => &[Algorithm::ES384],
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[Algorithm::EdDSA],
        _ => return None,
    };
    let own = common.key_algorithm;
    let admitted =
        |algorithm: &Algorithm| listed.contains(algorithm) && own.is_none_or(|own| own == (*algorithm).into());
    let algorithms: Vec<Algorithm> = fitting.iter().copied().filter(admitted).collect();
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    (!algorithms.is_empty()).then(|| Key { id: common.key_id.clone(), algorithms, key })
}

/// Bytes of an uncompressed point on P-256 and on P-384.
const P256_POINT: usize = 65;
const P384_POINT: usize = 97;

fn pem(text: &[u8], listed: &[Algorithm]) -> Option<Key> {
    let key = [DecodingKey::from_rsa_pem, DecodingKey::from_ec_pem, DecodingKey::from_ed_pem]
        .into_iter()
        .find_map(|read| read(text).ok())?;
    let length = key.try_get_as_bytes().map_or(0, <[u8]>::len);
    let fitting: &[Algorithm] = match key.family() {
        AlgorithmFamily::Rsa => AlgorithmFamily::Rsa.algorithms(),
        AlgorithmFamily::Ec if length == P256_POINT => &[Algorithm::ES256],
        AlgorithmFamily::Ec if length == P384_POINT => &[Algorithm::ES384],
        AlgorithmFamily::Ed => &[Algorithm::EdDSA],
        AlgorithmFamily::Ec | AlgorithmFamily::Hmac => return None,
    };
    let algorithms: Vec<Algorithm> = fitting.iter().copied().filter(|algorithm| listed.contains(algorithm)).collect();
    (!algorithms.is_empty()).then_some(Key { id: None, algorithms, key })
}
