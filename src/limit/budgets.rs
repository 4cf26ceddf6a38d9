//! Whose requests are counted.

use std::net::IpAddr;

use super::{Budget, Limiter, address_key};
use crate::config;
use crate::domain::{Error, Principal};

/// The budgets of requests; those of sign-ins are `auth`'s.
pub struct Budgets {
    /// By id; who belongs to no tenant is one of his own.
    tenants: Limiter<String>,
    /// By id, all keys and sessions of an account together.
    accounts: Limiter<String>,
    addresses: Limiter<IpAddr>,
}

impl Budgets {
    /// Full ones.
    pub fn new(rates: &config::Limits) -> Self {
        Self {
            tenants: Limiter::new("tenant", rates.tenant),
            accounts: Limiter::new("account", rates.account),
            addresses: Limiter::new("address", rates.address),
        }
    }

    /// Other rates from now on.
    pub fn set_rates(&self, rates: &config::Limits) {
        self.tenants.set_rate(rates.tenant);
        self.accounts.set_rate(rates.account);
        self.addresses.set_rate(rates.address);
    }

    /// Spends one request of somebody's budget and of their tenant's; the answer is of the one that has less.
    pub fn spend(&self, principal: &Principal) -> (Budget, Result<(), Error>) {
        let account = &principal.account_id;
        let (own, passed) = self.accounts.spend(account);
        if passed.is_err() {
            return (own, passed);
        }
        let shared = self.tenants.spend(principal.tenant.as_ref().map_or(account, |tenant| &tenant.id));
        if shared.1.is_ok() && own.remaining < shared.0.remaining { (own, passed) } else { shared }
    }

    /// Spends one request of an address's.
    pub fn spend_unknown(&self, address: IpAddr) -> (Budget, Result<(), Error>) {
        self.addresses.spend(&address_key(address))
    }

    /// Forgets those that are full again; to be called now and then.
    pub fn forget_idle(&self) {
        self.tenants.forget_idle();
        self.accounts.forget_idle();
        self.addresses.forget_idle();
    }
}
