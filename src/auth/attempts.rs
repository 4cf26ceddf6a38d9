//! How often passwords may be tried: decided before anything is looked up or hashed, so that right and wrong passwords,
//! accounts that exist and such that do not, are the same (SECURITY rules 19 and 20).
//!
//! What is counted per account alone could be spent by anybody, and its owner with it. So that count spares the addresses
//! that the account was used from before.

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use super::recent::Recent;
use crate::config;
use crate::domain::{Error, Kind, Result};
use crate::limit::{Limiter, address_key};

/// How many pairs of account and address are remembered.
const KNOWN: usize = 20_000;

/// A name that somebody tries, whatever is in it and however long it is.
type Name = [u8; 16];

/// Counts.
pub struct Attempts {
    addresses: Limiter<IpAddr>,
    pairs: Limiter<(Name, IpAddr)>,
    accounts: Limiter<Name>,
    known: Recent<(Name, IpAddr), ()>,
}

/// One that may go on.
pub struct Attempt {
    pair: (Name, IpAddr),
}

impl Attempts {
    /// None yet.
    pub fn new(config: &config::SignIns) -> Self {
        Self {
            addresses: Limiter::slow("sign-in", config.address),
            pairs: Limiter::slow("sign-in", config.account_at_address),
            accounts: Limiter::slow("sign-in", config.account),
            known: Recent::new(KNOWN),
        }
    }

    /// Other rates from now on; a count whose rate changed begins anew.
    pub fn set_rates(&self, config: &config::SignIns) {
        self.addresses.set_slow_rate(config.address);
        self.pairs.set_slow_rate(config.account_at_address);
        self.accounts.set_slow_rate(config.account);
    }

    /// One more. `RateLimited` if it is one too many.
    pub fn one(&self, username: &str, address: IpAddr) -> Result<Attempt> {
        let pair = (name(username), address_key(address));
        self.addresses.spend(&pair.1).1.map_err(too_many)?;
        self.pairs.spend(&pair).1.map_err(too_many)?;
        if self.known.get(&pair).is_none() {
            self.accounts.spend(&pair.0).1.map_err(too_many)?;
        }
        Ok(Attempt { pair })
    }

    /// It was the right password.
    pub fn succeeded(&self, attempt: Attempt) {
        self.known.put(attempt.pair, ());
    }

    /// Forgets what counts no more; to be called now and then.
    pub fn forget_idle(&self) {
        self.addresses.forget_idle();
        self.pairs.forget_idle();
        self.accounts.forget_idle();
    }
}

/// Says of what there were too many: whoever signs in asks for nothing else.
fn too_many(error: Error) -> Error {
    match error.kind {
        Kind::OverBudget(budget) => {
            error.said(Kind::OverBudget(budget), format!("too many sign-ins; retry in {} s", budget.reset))
        }
        _ => error,
    }
}

fn name(username: &str) -> Name {
    let mut name = Name::default();
    let digest = Sha256::digest(username);
    name.copy_from_slice(&digest[..16]);
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SignIns, SlowRate};

    fn attempts(address: u32, pair: u32, account: u32) -> Attempts {
        let rate = |burst| SlowRate { per_minute: 1, burst };
        Attempts::new(&SignIns { address: rate(address), account_at_address: rate(pair), account: rate(account) })
    }

    fn from(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn an_account_is_guessed_at_slowly_from_anywhere() {
        let attempts = attempts(100, 3, 10);
        for _ in 0..3 {
            assert!(attempts.one("acme/alice", from(1)).is_ok());
        }
        assert!(attempts.one("acme/alice", from(1)).is_err());
        assert!(attempts.one("acme/bob", from(1)).is_ok(), "another account is not concerned");
        let more = (2..=250).filter(|last| attempts.one("acme/alice", from(*last)).is_ok()).count();
        assert_eq!(more, 7, "ten in all");
    }

    #[test]
    fn the_owner_is_not_locked_out() {
        let attempts = attempts(100, 3, 10);
        let home = attempts.one("acme/alice", from(1)).unwrap();
        attempts.succeeded(home);
        for last in 2..=250 {
            let _ = attempts.one("acme/alice", from(last));
        }
        assert!(attempts.one("acme/alice", from(251)).is_err());
        assert!(attempts.one("acme/alice", from(1)).is_ok());
        // Not without end either.
        let _ = attempts.one("acme/alice", from(1));
        assert!(attempts.one("acme/alice", from(1)).is_err());
    }

    #[test]
    fn an_address_tries_many_accounts_slowly() {
        let attempts = attempts(5, 3, 10);
        let tried = (0..50).filter(|number| attempts.one(&format!("acme/{number}"), from(1)).is_ok()).count();
        assert_eq!(tried, 5);
        let host = |text: &str| text.parse::<IpAddr>().unwrap();
        let tried =
            (0..50).filter(|n| attempts.one(&format!("a/{n}"), host(&format!("2001:db8::{n:x}"))).is_ok()).count();
        assert_eq!(tried, 5, "a /64 is one");
    }
}
