//! The request id, and one log line a request (STYLE 17: never bodies, secrets or query strings).

use std::sync::Arc;
use std::time::Instant;

use poem::http::HeaderValue;
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use super::peer::peer;
use crate::api::BodyLimits;
use crate::api::caller::{Peer, Recognised};
use crate::api::contract::{Contract, Found};
use crate::config::Network;
use crate::domain::World;

/// Identifies the request in the answer and in the log.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    /// The request's; empty outside of this layer.
    pub fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| Self(String::new()))
    }
}

/// Makes the id, notes the peer and the route, logs the outcome.
pub struct Observe {
    pub contract: Arc<Contract>,
    pub body_limits: BodyLimits,
    pub trusted_proxies: Vec<Network>,
    pub world: World,
}

pub struct Observed<E> {
    layer: Arc<Observe>,
    inner: E,
}

/// Who the identify layer found, for the log line; set on the way out.
#[derive(Clone)]
pub struct SeenAs(pub Recognised);

impl<E: Endpoint> Middleware<E> for Observe {
    type Output = Observed<E>;

    fn transform(&self, inner: E) -> Observed<E> {
        let layer = Self {
            contract: Arc::clone(&self.contract),
            body_limits: self.body_limits.clone(),
            trusted_proxies: self.trusted_proxies.clone(),
            world: self.world,
        };
        Observed { layer: Arc::new(layer), inner }
    }
}

impl<E: Endpoint> Endpoint for Observed<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let begun = Instant::now();
        let id = (self.layer.world.new_id)();
        let Peer(address) = peer(&request, &self.layer.trusted_proxies);
        let method = request.method().clone();
        let route = match self.layer.contract.find(&method, request.uri().path()) {
            Found::Operation(_, template) | Found::OtherMethods(_, template) => template.to_owned(),
            Found::Nothing => "-".to_owned(),
        };
        request.extensions_mut().insert(RequestId(id.clone()));
        request.extensions_mut().insert(Peer(address));
        request.extensions_mut().insert(Arc::clone(&self.layer.contract));
        request.extensions_mut().insert(self.layer.body_limits.clone());
        let mut response = self.inner.call(request).await?.into_response();
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-request-id", value);
        }
        let principal = match response.data::<SeenAs>() {
            Some(SeenAs(Recognised(found))) => found.as_ref().as_ref().map(ToString::to_string).unwrap_or_default(),
            None => String::new(),
        };
        tracing::info!(
            http.method = %method,
            http.route = route,
            http.status = response.status().as_u16(),
            duration_ms = begun.elapsed().as_millis() as u64,
            request.id = id,
            client.address = %address,
            principal,
            "request"
        );
        Ok(response)
    }
}
