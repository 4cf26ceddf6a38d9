//! A bounded number of short calls at once, shared fairly: one tenant holds at most half.
//!
//! Not even while nobody else waits: calls that hang keep their places to the deadline, and whoever comes then must
//! still find one.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::domain::{Error, Result};
use crate::metrics::{Queue, Running};

/// The places in which calls run.
#[derive(Clone)]
pub struct Workers {
    state: Arc<Mutex<State>>,
    queue: Queue,
}

struct State {
    size: usize,
    running: HashMap<String, usize>,
    busy: usize,
    waiting: VecDeque<Waiter>,
}

struct Waiter {
    tenant: String,
    call: oneshot::Sender<Place>,
}

/// One place, held for a call; dropping it hands it on.
pub struct Place {
    tenant: String,
    state: Arc<Mutex<State>>,
    /// From when it was taken.
    running: Option<Running>,
}

impl Workers {
    /// `size` places.
    pub fn new(size: usize, queue: Queue) -> Self {
        let state = State { size, running: HashMap::new(), busy: 0, waiting: VecDeque::new() };
        Self { state: Arc::new(Mutex::new(state)), queue }
    }

    /// Waits for a place, first come first served but for the tenants' shares. Leaving the queue is safe at any time.
    pub async fn enter(&self, tenant: &str) -> Result<Place> {
        let (call, called) = oneshot::channel();
        let waiting = self.queue.come();
        lock(&self.state).waiting.push_back(Waiter { tenant: tenant.to_owned(), call });
        hand_out(&self.state);
        let mut place = called.await.map_err(Error::internal)?;
        place.running = Some(waiting.served());
        Ok(place)
    }

    /// How many places are taken, and how many there are.
    pub fn usage(&self) -> (usize, usize) {
        let state = lock(&self.state);
        (state.busy, state.size)
    }
}

impl State {
    /// Who is next: the first whose tenant has less than half of the places.
    fn next(&mut self) -> Option<Waiter> {
        if self.busy >= self.size {
            return None;
        }
        self.waiting.retain(|waiter| !waiter.call.is_closed());
        let half = (self.size / 2).max(1);
        let below = |waiter: &Waiter| self.running.get(&waiter.tenant).copied().unwrap_or(0) < half;
        let index = self.waiting.iter().position(below)?;
        self.waiting.remove(index)
    }
}

fn hand_out(shared: &Arc<Mutex<State>>) {
    loop {
        let (waiter, place) = {
            let mut state = lock(shared);
            let Some(waiter) = state.next() else { return };
            state.busy += 1;
            *state.running.entry(waiter.tenant.clone()).or_default() += 1;
            let place = Place { tenant: waiter.tenant.clone(), state: Arc::clone(shared), running: None };
            (waiter, place)
        };
        // A caller who left in between drops the place here, which hands it on.
        drop(waiter.call.send(place));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.state);
            state.busy -= 1;
            if let Some(count) = state.running.get_mut(&self.tenant) {
                *count -= 1;
                if *count == 0 {
                    state.running.remove(&self.tenant);
                }
            }
        }
        hand_out(&self.state);
    }
}

/// The state is whole between statements, so a panic elsewhere is no reason to stop.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;
    use std::time::Duration;

    fn workers(size: usize) -> Workers {
        Workers::new(size, Metrics::new().queue("workers"))
    }

    async fn comes(place: impl Future<Output = Result<Place>>) -> Option<Place> {
        tokio::time::timeout(Duration::from_millis(20), place).await.ok().and_then(Result::ok)
    }

    #[tokio::test]
    async fn one_tenant_has_at_most_half() {
        let workers = workers(4);
        let _held = [workers.enter("a").await.unwrap(), workers.enter("a").await.unwrap()];
        assert!(comes(workers.enter("a")).await.is_none());
        let others = [comes(workers.enter("b")).await, comes(workers.enter("c")).await];
        assert!(others.iter().all(Option::is_some));
        assert_eq!(workers.usage(), (4, 4));
        drop(others);
        assert_eq!(workers.usage(), (2, 4));
    }

    #[tokio::test]
    async fn a_newcomer_goes_before_a_tenant_that_has_its_half() {
        let workers = workers(2);
        let held = workers.enter("a").await.unwrap();
        let other = workers.enter("b").await.unwrap();
        let greedy = tokio::spawn({
            let workers = workers.clone();
            async move { workers.enter("a").await }
        });
        tokio::task::yield_now().await;
        drop(other);
        assert!(comes(workers.enter("c")).await.is_some());
        assert!(!greedy.is_finished());
        drop(held);
        assert!(greedy.await.unwrap().is_ok());
    }

    #[tokio::test]
    async fn a_place_whose_caller_left_is_handed_on() {
        let workers = workers(1);
        let first = workers.enter("a").await.unwrap();
        assert!(comes(workers.enter("b")).await.is_none());
        drop(first);
        assert!(comes(workers.enter("c")).await.is_some());
        assert_eq!(workers.usage(), (0, 1));
    }
}
