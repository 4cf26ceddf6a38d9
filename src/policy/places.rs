//! What tenants do at once, counted in memory: it ends with the program.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::domain::{Resource, Tenant};

/// Who does how much of what.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<HashMap<(String, Resource), Held>>>);

#[derive(Default)]
struct Held {
    used: i64,
    waiting: i64,
    freed: Arc<Notify>,
}

/// One of a tenant's places, until this is dropped.
pub struct Place {
    places: Places,
    key: (String, Resource),
}

/// Why there is no place.
pub(super) enum Full {
    /// There may be one later: ask again when this tells.
    Wait(Waiting),
    /// As many wait as may.
    Queue,
}

/// One who waits, until this is dropped.
pub(super) struct Waiting {
    places: Places,
    key: (String, Resource),
    freed: Arc<Notify>,
}

impl Waiting {
    /// Until a place may be free.
    pub(super) async fn freed(&self) {
        self.freed.notified().await;
    }
}

impl Places {
    /// How many the tenant has.
    pub(super) fn used(&self, tenant: &Tenant, resource: Resource) -> i64 {
        self.lock().get(&(tenant.id.clone(), resource)).map_or(0, |held| held.used)
    }

    /// How many all tenants have.
    pub(super) fn all(&self, resource: Resource) -> i64 {
        self.lock().iter().filter(|((_, of), _)| *of == resource).map(|(_, held)| held.used).sum()
    }

    /// A place if fewer than `limit` are taken; else one of `queue` places in the queue. Who waits already keeps that.
    pub(super) fn take(
        &self,
        tenant: &Tenant,
        resource: Resource,
        limit: i64,
        queue: i64,
        waits: Option<Waiting>,
    ) -> Result<Place, Full> {
        let key = (tenant.id.clone(), resource);
        let mut all = self.lock();
        let held = all.entry(key.clone()).or_default();
        if held.used < limit {
            held.used += 1;
            // Dropping `waits` needs the lock.
            drop(all);
            return Ok(Place { places: self.clone(), key });
        }
        if let Some(waits) = waits {
            return Err(Full::Wait(waits));
        }
        if held.waiting >= queue {
            return Err(Full::Queue);
        }
        held.waiting += 1;
        Err(Full::Wait(Waiting { places: self.clone(), key, freed: Arc::clone(&held.freed) }))
    }

    fn change(&self, key: &(String, Resource), change: impl FnOnce(&mut Held)) {
        let mut all = self.lock();
        if let Some(held) = all.get_mut(key) {
            change(held);
            if held.used == 0 && held.waiting == 0 {
                all.remove(key);
            }
        }
    }

    /// A map has no state between statements that a panic could break.
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Resource), Held>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.change(&self.key, |held| {
            held.used -= 1;
            held.freed.notify_one();
        });
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.places.change(&self.key, |held| {
            held.waiting -= 1;
            // Two places that come free at once may wake one who waits only, and who was woken may have gone since: each
            // wakes the next.
            held.freed.notify_one();
        });
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::domain::TenantSlug;

    #[test]
    fn who_was_woken_and_left_wakes_the_next() {
        let places = Places::default();
        let tenant = Tenant { id: "1".into(), slug: TenantSlug::parse("acme").unwrap() };
        let take = |waits| places.take(&tenant, Resource::Execs, 1, 2, waits);
        let waiting = || match take(None) {
            Err(Full::Wait(waiting)) => waiting,
            _ => panic!("it is not taken"),
        };
        let Ok(place) = take(None) else { panic!("it is not free") };
        let (first, second) = (waiting(), waiting());
        assert!(matches!(take(None), Err(Full::Queue)));
        let now = &mut Context::from_waker(Waker::noop());
        let mut wakes = pin!(second.freed());
        {
            let mut leaves = pin!(first.freed());
            assert!(leaves.as_mut().poll(now).is_pending() && wakes.as_mut().poll(now).is_pending());
            drop(place);
            assert!(leaves.poll(now).is_ready() && wakes.as_mut().poll(now).is_pending());
        }
        // Its client leaves before it looks.
        drop(first);
        assert!(wakes.poll(now).is_ready());
        assert!(take(None).is_ok());
    }
}
