//! Handshakes of WebSockets: whole, and from a page that may.

use std::sync::Arc;

use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use crate::api::contract::{Contract, Found};
use crate::api::websocket::{check_handshake, check_origin};
use crate::config::Live;

/// Lets nothing but handshakes through to WebSockets.
pub struct Upgrades {
    pub origins: Live<Vec<String>>,
}

pub struct WithUpgrades<E> {
    origins: Live<Vec<String>>,
    inner: E,
}

impl<E: Endpoint> Middleware<E> for Upgrades {
    type Output = WithUpgrades<E>;

    fn transform(&self, inner: E) -> WithUpgrades<E> {
        WithUpgrades { origins: self.origins.clone(), inner }
    }
}

impl<E: Endpoint> Endpoint for WithUpgrades<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let contract = request.extensions().get::<Arc<Contract>>();
        let found = contract.map(|contract| contract.find(request.method(), request.uri().path()));
        if let Some(Found::Operation(operation, _)) = found
            && operation.is_websocket
        {
            check_origin(&request, &self.origins.get())?;
            check_handshake(&request)?;
        }
        self.inner.call(request).await.map(IntoResponse::into_response)
    }
}
