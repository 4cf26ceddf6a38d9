//! Secrets that we make, and what of them is kept.
//!
//! An API key is `pgw_`, a public id of 12 digits of base 62, a secret of 43 (256 bits), and a checksum of 6, by which
//! scanners of leaked secrets know one without asking us.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::RngExt as _;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const PREFIX: &str = "pgw_";
const TICKET_PREFIX: &str = "pgt_";
const ID: usize = 12;
const SECRET: usize = 43;
const CHECKSUM: usize = 6;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A new refresh token: 256 random bits.
pub(super) fn refresh_token() -> String {
    format!("pgr_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// A new ticket: 256 random bits, in letters that a URL takes as they are.
pub(super) fn ticket() -> String {
    format!("{TICKET_PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// Whether this has the form of a ticket.
pub(super) fn is_ticket(text: &str) -> bool {
    text.strip_prefix(TICKET_PREFIX).is_some_and(|rest| rest.len() == SECRET)
}

/// What is stored of a secret. It has 256 bits of its own, so it needs neither salt nor slowness.
pub(super) fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}

/// Whether the secret has one of these digests, without telling by the time it takes how much of one fits.
pub(super) fn has_digest(secret: &str, digests: &[String]) -> bool {
    let found = digest(secret);
    let fits = digests.iter().map(|digest| digest.as_bytes().ct_eq(found.as_bytes()));
    fits.fold(subtle::Choice::from(0), |any, one| any | one).into()
}

/// A new key of this public id, or of a new one.
pub(super) fn api_key(id: Option<&str>) -> String {
    let id = id.map_or_else(|| random(ID), str::to_owned);
    let body = format!("{id}{}", random(SECRET));
    format!("{PREFIX}{body}{}", checksum(&body))
}

/// The public id of the key that an attempt of this identifier makes.
pub(super) fn key_id_for(attempt: &str) -> String {
    let sum = Sha256::digest(attempt);
    sum.iter().take(ID).map(|byte| char::from(DIGITS[usize::from(*byte) % DIGITS.len()])).collect()
}

/// The public id of what looks like a key.
pub(super) fn key_id(text: &str) -> Option<&str> {
    let body = text.strip_prefix(PREFIX)?;
    let is_whole = body.len() == ID + SECRET + CHECKSUM && body.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let (rest, sum) = body.split_at_checked(ID + SECRET).filter(|_| is_whole)?;
    (checksum(rest) == sum).then(|| &rest[..ID])
}

/// Whether this would be a key if it were whole.
pub(super) fn is_key(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// A password for somebody who has none yet: 119 random bits.
pub fn new_password() -> String {
    random(20)
}

fn random(digits: usize) -> String {
    let mut rng = rand::rng();
    (0..digits).map(|_| char::from(DIGITS[rng.random_range(0..DIGITS.len())])).collect()
}

fn checksum(body: &str) -> String {
    let sum = Sha256::digest(body);
    sum.iter().take(CHECKSUM).map(|byte| char::from(DIGITS[usize::from(*byte) % DIGITS.len()])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_their_id_only_when_whole() {
        let key = api_key(None);
        let id = key_id(&key).unwrap();
        assert_eq!((id.len(), key.len()), (ID, 65));
        let other = api_key(Some(id));
        assert_eq!(key_id(&other), Some(id));
        assert_ne!(key, other);
        for broken in [&key[..64], &key[4..], &format!("{key}0"), &key.replace("pgw_", "pgx_"), "pgw_", "", "pgw_é"] {
            assert_eq!(key_id(broken), None, "{broken}");
        }
        let digests = [digest(&other), digest(&key)];
        assert!(has_digest(&key, &digests) && !has_digest(&key[1..], &digests) && !has_digest(&key, &[]));
    }
}
