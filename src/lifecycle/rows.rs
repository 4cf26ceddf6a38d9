//! Which rows this process works on, and which containers somebody uses or changes.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Rows that are worked on, each by one at a time.
#[derive(Clone, Default)]
pub(super) struct Claims(Arc<Claimed>);

#[derive(Default)]
struct Claimed {
    rows: Mutex<HashSet<String>>,
    freed: Notify,
}

/// A row that this process works on until the claim is dropped.
pub(super) struct Claim {
    row_id: String,
    claims: Claims,
}

impl Claims {
    /// Marks a row as being worked on; none if it is.
    pub(super) fn claim(&self, row_id: &str) -> Option<Claim> {
        let fresh = lock(&self.0.rows).insert(row_id.to_owned());
        fresh.then(|| Claim { row_id: row_id.to_owned(), claims: self.clone() })
    }

    /// The same as soon as whoever has it lets go.
    pub(super) async fn claimed(&self, row_id: &str) -> Claim {
        loop {
            let mut freed = pin!(self.0.freed.notified());
            freed.as_mut().enable();
            if let Some(claim) = self.claim(row_id) {
                return claim;
            }
            freed.await;
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.claims.0.rows).remove(&self.row_id);
        self.claims.0.freed.notify_waiters();
    }
}

/// How many do something with each row's container.
#[derive(Clone, Default)]
pub(super) struct Counts(Arc<Mutex<HashMap<String, usize>>>);

/// One of them, until this is dropped.
pub(super) struct Counted {
    row_id: String,
    counts: Counts,
}

impl Counts {
    pub(super) fn enter(&self, row_id: &str) -> Counted {
        *lock(&self.0).entry(row_id.to_owned()).or_default() += 1;
        Counted { row_id: row_id.to_owned(), counts: self.clone() }
    }

    /// Whether anybody does.
    pub(super) fn has(&self, row_id: &str) -> bool {
        lock(&self.0).contains_key(row_id)
    }

    /// The rows of which anybody does.
    pub(super) fn rows(&self) -> Vec<String> {
        lock(&self.0).keys().cloned().collect()
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = lock(&self.counts.0);
        match counts.get_mut(&self.row_id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                counts.remove(&self.row_id);
            }
        }
    }
}

/// Sets and maps have no state between statements that a panic could break.
pub(super) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_claim_is_ones_own_until_it_is_dropped() {
        let claims = Claims::default();
        let first = claims.claim("a").unwrap();
        assert!(claims.claim("a").is_none() && claims.claim("b").is_some());
        let waiting = tokio::spawn({
            let claims = claims.clone();
            async move { claims.claimed("a").await }
        });
        tokio::task::yield_now().await;
        drop(first);
        let second = waiting.await.unwrap();
        assert!(claims.claim("a").is_none());
        drop(second);
        assert!(claims.claim("a").is_some());
    }

    #[test]
    fn who_leaves_first_ends_nothing() {
        let counts = Counts::default();
        let (first, second) = (counts.enter("a"), counts.enter("a"));
        drop(first);
        assert!(counts.has("a"));
        assert_eq!(counts.rows(), ["a"]);
        drop(second);
        assert!(!counts.has("a"));
    }
}
