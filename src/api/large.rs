//! Large bodies in memory: few at once, fewer of one tenant.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::domain::{Error, Kind, Result};

/// At once in all, and of one tenant. With bodies of 16 MiB, each held twice for a moment: 256 MiB at most.
const ALL: usize = 8;
const OF_ONE_TENANT: usize = 2;

/// The places for bodies beyond the ordinary limit.
#[derive(Clone, Default)]
pub struct LargeBodies {
    held: Arc<Mutex<HashMap<String, usize>>>,
}

/// One place, held while the body is in memory.
pub struct Place {
    tenant_id: String,
    held: Arc<Mutex<HashMap<String, usize>>>,
}

impl LargeBodies {
    /// Takes a place. `RateLimited` at once if there is none: to wait would hold what was read so far.
    pub fn enter(&self, tenant_id: &str) -> Result<Place> {
        let mut held = lock(&self.held);
        let of_tenant = held.get(tenant_id).copied().unwrap_or(0);
        if of_tenant >= OF_ONE_TENANT || held.values().sum::<usize>() >= ALL {
            return Err(Error::new(Kind::RateLimited(1), "too many large bodies at once; try again"));
        }
        held.insert(tenant_id.to_owned(), of_tenant + 1);
        Ok(Place { tenant_id: tenant_id.to_owned(), held: Arc::clone(&self.held) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        match held.get_mut(&self.tenant_id) {
            Some(count) if *count > 1 => *count -= 1,
            _ => {
                held.remove(&self.tenant_id);
            }
        }
    }
}

/// A map has no state between statements that a panic could break.
fn lock(held: &Mutex<HashMap<String, usize>>) -> MutexGuard<'_, HashMap<String, usize>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_at_once_and_fewer_of_one() {
        let bodies = LargeBodies::default();
        let first = bodies.enter("a").unwrap();
        let _second = bodies.enter("a").unwrap();
        assert!(bodies.enter("a").is_err());
        drop(first);
        let _third = bodies.enter("a").unwrap();
        let _others: Vec<Place> = ["b", "b", "c", "c", "d", "d"].iter().map(|id| bodies.enter(id).unwrap()).collect();
        assert!(bodies.enter("e").is_err());
    }
}
