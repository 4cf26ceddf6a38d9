//! Secrets that we make, and what of them is kept.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

/// A new refresh token: 256 random bits.
pub(super) fn refresh_token() -> String {
    format!("pgr_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()))
}

/// What is stored of a secret. It has 256 bits of its own, so it needs neither salt nor slowness.
pub(super) fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}
