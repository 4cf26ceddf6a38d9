//! Budgets: a tenant's and an account's after authentication; an address's for whoever has shown no valid token, and for sign-in.

use std::sync::Arc;

use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use super::envelope::answer;
use super::observe::RequestId;
use crate::api::caller::{Peer, Recognised};
use crate::api::contract::{Contract, Found};
use crate::api::error::tell_budget;
use crate::domain::{Budget, Error, World};
use crate::limit::Budgets;
use crate::metrics::Metrics;

/// Whoever floods from an address must not have a healthy gateway restarted or taken out for it: probes come from there as
/// well where a balancer stands in front. They cost next to nothing: what `/readyz` looks up, it looks up once a second.
const PROBES: &[&str] = &["/livez", "/readyz"];

/// Spends one request of whoever asks.
pub struct Limits {
    pub budgets: Arc<Budgets>,
    pub metrics: Metrics,
    pub world: World,
}

pub struct Limited<E> {
    budgets: Arc<Budgets>,
    metrics: Metrics,
    world: World,
    inner: E,
}

impl<E: Endpoint> Middleware<E> for Limits {
    type Output = Limited<E>;

    fn transform(&self, inner: E) -> Limited<E> {
        Limited { budgets: Arc::clone(&self.budgets), metrics: self.metrics.clone(), world: self.world, inner }
    }
}

impl<E: Endpoint> Endpoint for Limited<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        if PROBES.contains(&request.uri().path()) {
            return Ok(self.inner.call(request).await?.into_response());
        }
        let (budget, passed) = self.spend(&request)?;
        self.metrics.limited(budget.name, passed.is_ok());
        let mut response = match passed {
            Ok(()) => self.inner.call(request).await?.into_response(),
            Err(error) => answer(&error, &RequestId::of(&request), self.world),
        };
        tell_budget(&mut response, budget);
        Ok(response)
    }
}

impl<E> Limited<E> {
    fn spend(&self, request: &Request) -> Result<(Budget, Result<(), Error>)> {
        let missing = || Error::internal("the limits stand outside of what they need");
        let extensions = request.extensions();
        let Recognised(found) = extensions.get().ok_or_else(missing)?;
        let Peer(address) = extensions.get().ok_or_else(missing)?;
        let contract: &Arc<Contract> = extensions.get().ok_or_else(missing)?;
        // Sign-in and the rest that is open to everybody count against the address, whatever token comes along: a
        // valid one must not buy guesses at other people's passwords.
        let public = match contract.find(request.method(), request.uri().path()) {
            Found::Operation(operation, _) => operation.public,
            Found::OtherMethods(..) | Found::Nothing => false,
        };
        Ok(match found.as_ref() {
            Ok(principal) if !public => self.budgets.spend(principal),
            _ => self.budgets.spend_unknown(*address),
        })
    }
}
