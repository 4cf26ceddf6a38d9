//! Whose requests are counted.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Limiter, address_key};
use crate::config::{self, Live, Rate};
use crate::domain::{Budget, Error, Principal, TenantLimit};

/// The name of a tenant's budget.
const TENANT: &str = "tenant";

/// The budgets of requests; those of sign-ins are `auth`'s.
pub struct Budgets {
    /// By id; who belongs to no tenant is one of his own.
    tenants: Limiter<String>,
    /// Of tenants whose record says another rate, by id.
    own: RwLock<HashMap<String, Arc<Limiter<()>>>>,
    /// What the configuration says of tenants, and of accounts.
    rates: Live<(Rate, Rate)>,
    /// By id, all keys and sessions of an account together.
    accounts: Limiter<String>,
    addresses: Limiter<IpAddr>,
}

impl Budgets {
    /// Full ones.
    pub fn new(rates: &config::Limits) -> Self {
        Self {
            tenants: Limiter::new(TENANT, rates.tenant),
            own: RwLock::default(),
            rates: Live::new((rates.tenant, rates.account)),
            accounts: Limiter::new("account", rates.account),
            addresses: Limiter::new("address", rates.address),
        }
    }

    /// Other rates from now on.
    pub fn set_rates(&self, rates: &config::Limits) {
        self.tenants.set_rate(rates.tenant);
        self.rates.set((rates.tenant, rates.account));
        self.accounts.set_rate(rates.account);
        self.addresses.set_rate(rates.address);
    }

    /// What the records say of tenants' rates from now on, by id: the rest is the configuration's. A tenant's budget is
    /// full again where its rate differs from what it was.
    pub fn set_own(&self, said: Vec<(String, TenantLimit, u32)>) {
        let mut rates: HashMap<String, Rate> = HashMap::new();
        for (tenant, limit, value) in said {
            let rate = rates.entry(tenant).or_insert_with(|| self.rates.get().0);
            match limit {
                TenantLimit::RequestsPerSecond => rate.per_second = value,
                TenantLimit::Burst => rate.burst = value,
                _ => {}
            }
        }
        let mut own = self.own.write().unwrap_or_else(PoisonError::into_inner);
        own.retain(|tenant, _| rates.contains_key(tenant));
        for (tenant, rate) in rates {
            own.entry(tenant).or_insert_with(|| Arc::new(Limiter::new(TENANT, rate))).set_rate(rate);
        }
    }

    /// Spends one request of somebody's budget and of their tenant's; the answer is of the one that has less.
    pub fn spend(&self, principal: &Principal) -> (Budget, Result<(), Error>) {
        let account = &principal.account_id;
        self.spend_of(principal.tenant.as_ref().map_or(account, |tenant| &tenant.id), account)
    }

    fn spend_of(&self, tenant: &String, account: &String) -> (Budget, Result<(), Error>) {
        let tenants = self.own.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        let (of_tenants, of_accounts) = *self.rates.get();
        // Where an account has as much as a tenant, it has as much as its own tenant.
        if let Some(tenants) = tenants.as_ref().filter(|_| of_tenants == of_accounts) {
            return tenants.spend(&());
        }
        let (own, passed) = self.accounts.spend(account);
        if passed.is_err() {
            return (own, passed);
        }
        let shared = tenants.map_or_else(|| self.tenants.spend(tenant), |tenants| tenants.spend(&()));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn a_tenant_may_have_a_rate_of_its_own() {
        let mut rates = Config::defaults().limits;
        let rate = |burst| Rate { per_second: 1, burst };
        (rates.tenant, rates.account) = (rate(5), rate(5));
        let budgets = Budgets::new(&rates);
        let spend = |tenant: &str, account: &str| {
            let (budget, passed) = budgets.spend_of(&tenant.to_owned(), &account.to_owned());
            (budget.quota, passed.is_ok())
        };
        assert_eq!((spend("a", "alice"), spend("b", "bob")), ((5, true), (5, true)));
        let own = |burst| vec![("a".to_owned(), TenantLimit::Burst, burst)];
        budgets.set_own(own(2));
        assert_eq!((spend("a", "alice"), spend("b", "bob")), ((2, true), (5, true)));
        assert_eq!((spend("a", "alice"), spend("a", "amy")), ((2, true), (2, false)));
        budgets.set_own(own(2));
        assert_eq!(spend("a", "alice"), (2, false), "the same again gives nothing back");
        // More than the configuration's is for each account as well, unless it says less of accounts.
        budgets.set_own(own(20));
        assert_eq!((0..20).filter(|_| spend("a", "alice").1).count(), 20);
        rates.account = rate(3);
        budgets.set_rates(&rates);
        budgets.set_own(own(30));
        assert_eq!((0..20).filter(|_| spend("a", "alice").1).count(), 3);
        budgets.set_own(vec![]);
        assert_eq!(spend("a", "ann"), (3, true));
    }
}
