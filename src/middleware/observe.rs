//! The request id, and one log line a request (STYLE 17: never bodies, secrets or query strings).

use std::net::IpAddr;
use std::sync::Arc;

use poem::http::{HeaderValue, Method};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use super::peer::peer;
use super::trace::trace_id;
use crate::api::BodyLimits;
use crate::api::caller::Recognised;
use crate::api::contract::{Contract, Found};
use crate::api::error::ErrorType;
use crate::config::{Live, Network};
use crate::domain::World;
use crate::metrics::{CLIENT_LEFT, InFlight, Metrics};

/// Identifies the request in the answer and in the log.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    /// The request's; empty outside of this layer.
    pub fn of(request: &Request) -> Self {
        request.extensions().get().cloned().unwrap_or_else(|| Self(String::new()))
    }
}

/// Makes the id, notes the peer and the route, logs and counts the outcome.
pub struct Observe {
    pub contract: Arc<Contract>,
    pub body_limits: Live<BodyLimits>,
    pub trusted_proxies: Live<Vec<Network>>,
    pub metrics: Metrics,
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
            metrics: self.metrics.clone(),
            world: self.world,
        };
        Observed { layer: Arc::new(layer), inner }
    }
}

impl<E: Endpoint> Endpoint for Observed<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let layer = &self.layer;
        let id = (layer.world.new_id)();
        let peer = peer(&request, &layer.trusted_proxies.get());
        let method = request.method().clone();
        let route = match layer.contract.find(&method, request.uri().path()) {
            Found::Operation(_, template) | Found::OtherMethods(_, template) => template,
            Found::Nothing => "",
        };
        let mut line = Line {
            in_flight: Some(layer.metrics.request(method.as_str(), route)),
            method,
            route: if route.is_empty() { "-".into() } else { route.into() },
            id: id.clone(),
            address: peer.0,
            trace_id: trace_id(&request),
            principal: String::new(),
            error_type: "",
            status: CLIENT_LEFT,
        };
        request.extensions_mut().insert(RequestId(id.clone()));
        request.extensions_mut().insert(peer);
        request.extensions_mut().insert(Arc::clone(&layer.contract));
        request.extensions_mut().insert(BodyLimits::clone(&layer.body_limits.get()));
        let mut response = self.inner.call(request).await?.into_response();
        if let Ok(value) = HeaderValue::from_str(&id) {
            response.headers_mut().insert("x-request-id", value);
        }
        line.answered(&response);
        Ok(response)
    }
}

/// The one log line of a request, written when this is dropped: when it was answered, or when its client left.
struct Line {
    in_flight: Option<InFlight>,
    method: Method,
    route: String,
    id: String,
    address: IpAddr,
    trace_id: Option<String>,
    principal: String,
    error_type: &'static str,
    status: u16,
}

impl Line {
    fn answered(&mut self, response: &Response) {
        self.status = response.status().as_u16();
        self.error_type = match response.data::<ErrorType>() {
            Some(ErrorType(name)) => name,
            None if self.status >= 400 => "other",
            None => "",
        };
        if let Some(SeenAs(Recognised(found))) = response.data::<SeenAs>() {
            self.principal = found.as_ref().as_ref().map(ToString::to_string).unwrap_or_default();
        }
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let Some(in_flight) = self.in_flight.take() else { return };
        tracing::info!(
            http.method = %self.method,
            http.route = self.route,
            http.status = self.status,
            duration_ms = in_flight.elapsed().as_millis() as u64,
            request.id = self.id,
            trace.id = self.trace_id,
            client.address = %self.address,
            principal = self.principal,
            "request"
        );
        // Where the client left, dropping it counts that.
        if self.status != CLIENT_LEFT {
            in_flight.answered(self.status, self.error_type);
        }
    }
}
