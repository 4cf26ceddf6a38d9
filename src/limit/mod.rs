//! How fast: a budget for each tenant and each account, one for each peer address that has shown no valid token, and slower
//! ones for passwords.

mod budgets;

use std::hash::Hash;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError, RwLock};

use governor::clock::{Clock, QuantaClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::config;
use crate::domain::{Budget, Error, Kind};

pub use budgets::Budgets;

type Keyed<K> = RateLimiter<K, DashMapStateStore<K>, QuantaClock, StateInformationMiddleware>;

/// A budget per key.
pub struct Limiter<K: Hash + Eq + Clone> {
    name: &'static str,
    clock: QuantaClock,
    now: RwLock<Arc<Rated<K>>>,
}

/// Budgets of one rate.
struct Rated<K: Hash + Eq + Clone> {
    quota: Quota,
    buckets: Keyed<K>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// A limiter of that rate; `name` shows in the headers.
    pub fn new(name: &'static str, rate: config::Rate) -> Self {
        Self::of(name, per_second(rate))
    }

    /// A limiter of so many a minute.
    pub fn slow(name: &'static str, rate: config::SlowRate) -> Self {
        Self::of(name, per_minute(rate))
    }

    fn of(name: &'static str, quota: Quota) -> Self {
        let clock = QuantaClock::default();
        let now = RwLock::new(Arc::new(Rated::new(quota, &clock)));
        Self { name, clock, now }
    }

    /// Another rate from now on; every budget is full again where it differs.
    pub fn set_rate(&self, rate: config::Rate) {
        self.set(per_second(rate));
    }

    /// The same of a slow one.
    pub fn set_slow_rate(&self, rate: config::SlowRate) {
        self.set(per_minute(rate));
    }

    fn set(&self, quota: Quota) {
        if self.now().quota != quota {
            let rated = Arc::new(Rated::new(quota, &self.clock));
            *self.now.write().unwrap_or_else(PoisonError::into_inner) = rated;
        }
    }

    fn now(&self) -> Arc<Rated<K>> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Spends one request of `key`'s budget. Both answers carry what is left.
    pub fn spend(&self, key: &K) -> (Budget, Result<(), Error>) {
        let Rated { quota, buckets } = &*self.now();
        let window = quota.burst_size_replenished_in().as_secs_f64().ceil().max(1.0) as u64;
        let quota = quota.burst_size().get();
        let budget = |remaining, reset| Budget { name: self.name, quota, window, remaining, reset };
        match buckets.check_key(key) {
            Ok(state) => (budget(state.remaining_burst_capacity(), 1), Ok(())),
            Err(not_until) => {
                let wait = not_until.wait_time_from(self.clock.now()).as_secs_f64().ceil().max(1.0) as u64;
                let spent = budget(0, wait);
                (spent, Err(Error::new(Kind::OverBudget(spent), format!("too many requests; retry in {wait} s"))))
            }
        }
    }

    /// Forgets keys whose budget is full again; to be called now and then.
    pub fn forget_idle(&self) {
        let now = self.now();
        now.buckets.retain_recent();
        now.buckets.shrink_to_fit();
    }
}

impl<K: Hash + Eq + Clone> Rated<K> {
    fn new(quota: Quota, clock: &QuantaClock) -> Self {
        Self { quota, buckets: RateLimiter::dashmap_with_clock(quota, clock.clone()).with_middleware() }
    }
}

fn per_second(rate: config::Rate) -> Quota {
    Quota::per_second(at_least_one(rate.per_second)).allow_burst(at_least_one(rate.burst))
}

fn per_minute(rate: config::SlowRate) -> Quota {
    Quota::per_minute(at_least_one(rate.per_minute)).allow_burst(at_least_one(rate.burst))
}

fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

/// What an address is counted as: itself, or its /64, which one host owns whole (RFC 6177).
pub fn address_key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & (u128::MAX << 64)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spent_budget_says_when_to_come_back() {
        let limiter = Limiter::new("t", config::Rate { per_second: 1, burst: 2 });
        assert!(limiter.spend(&1).1.is_ok());
        let (budget, passed) = limiter.spend(&1);
        assert!(passed.is_ok());
        assert_eq!((budget.quota, budget.window, budget.remaining), (2, 2, 0));
        let (budget, passed) = limiter.spend(&1);
        assert_eq!(passed.unwrap_err().kind, Kind::OverBudget(budget));
        assert_eq!(budget.reset, 1);
        assert!(limiter.spend(&2).1.is_ok(), "another key has its own budget");
        limiter.set_rate(config::Rate { per_second: 1, burst: 2 });
        assert!(limiter.spend(&1).1.is_err(), "the same rate changes nothing");
        limiter.set_rate(config::Rate { per_second: 1, burst: 9 });
        assert_eq!(limiter.spend(&1).0.quota, 9);
    }

    #[test]
    fn some_budgets_come_back_slowly() {
        let limiter = Limiter::slow("t", config::SlowRate { per_minute: 6, burst: 3 });
        let (budget, _) = limiter.spend(&1);
        assert_eq!((budget.quota, budget.window), (3, 30));
        assert!(limiter.spend(&1).1.is_ok() && limiter.spend(&1).1.is_ok());
        let (budget, passed) = limiter.spend(&1);
        assert!(passed.is_err() && (9..=10).contains(&budget.reset), "{budget:?}");
    }

    #[test]
    fn one_host_is_one_key() {
        let key = |text: &str| address_key(text.parse().unwrap());
        assert_eq!(key("2001:db8::1"), key("2001:db8::ffff:1"));
        assert_ne!(key("2001:db8::1"), key("2001:db8:0:1::1"));
        assert_eq!(key("::ffff:10.0.0.1"), key("10.0.0.1"));
    }
}
