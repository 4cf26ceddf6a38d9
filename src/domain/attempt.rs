//! Requests that may be sent again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a client names a request by, so that it may send it again: 1 to 255 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// Parses, or says what a key looks like.
    pub fn parse(input: &[u8]) -> Result<Self, String> {
        let fits = (1..=255).contains(&input.len()) && input.iter().all(u8::is_ascii_graphic);
        match std::str::from_utf8(input) {
            Ok(text) if fits => Ok(Self(text.to_owned())),
            _ => Err("must be 1 to 255 visible ASCII characters".into()),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One try at a request with a key. What it makes bears its identifier; a later try at the same request has the same.
#[derive(Debug, Clone)]
pub struct Attempt {
    id: String,
    is_again: bool,
    found: Arc<AtomicBool>,
}

impl Attempt {
    /// The first try, or one after a try whose outcome nobody knows.
    pub fn new(id: String, is_again: bool) -> Self {
        Self { id, is_again, found: Arc::default() }
    }

    /// What is made by it is called so.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The attempt with its identifier, if there was a try before whose work it may find done.
    pub fn earlier(attempt: Option<&Self>) -> Option<(&Self, &str)> {
        attempt.filter(|attempt| attempt.is_again).map(|attempt| (attempt, attempt.id.as_str()))
    }

    /// Notes that an earlier try had made what was asked for.
    pub fn was_made(&self) {
        self.found.store(true, Ordering::Relaxed);
    }

    /// Whether an earlier try had made it.
    pub fn found_it_made(&self) -> bool {
        self.found.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::IdempotencyKey;

    #[test]
    fn keys_are_visible_text() {
        for good in ["a", "0b3f6a4d-9c5e-4c0d", "\"quoted\"", &"x".repeat(255)] {
            assert_eq!(IdempotencyKey::parse(good.as_bytes()).unwrap().as_str(), good);
        }
        for bad in [&b""[..], b" ", b"a b", b"a\t", b"\x7f", "\u{e9}".as_bytes(), b"\xff", &[b'x'; 256]] {
            assert!(IdempotencyKey::parse(bad).is_err(), "{bad:?}");
        }
    }
}
