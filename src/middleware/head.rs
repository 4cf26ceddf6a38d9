//! HEAD wherever there is a GET: the same answer without its body (RFC 9110, 9.3.2).

use std::sync::Arc;

use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Bytes};
use poem::http::{HeaderValue, Method, header};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use crate::api::contract::{Contract, Found};

/// Has HEAD answered by the operation that answers GET.
pub struct Head;

pub struct Headed<E>(E);

impl<E: Endpoint> Middleware<E> for Head {
    type Output = Headed<E>;

    fn transform(&self, inner: E) -> Headed<E> {
        Headed(inner)
    }
}

impl<E: Endpoint> Endpoint for Headed<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        if request.method() != Method::HEAD || !has_get(&request) {
            return self.0.call(request).await.map(IntoResponse::into_response);
        }
        request.set_method(Method::GET);
        let mut response = self.0.call(request).await?.into_response();
        // What was begun for the body, a stream maybe, ends with it.
        let body: BoxBody<Bytes, std::io::Error> = response.take_body().into();
        if let Some(length) = body.size_hint().exact() {
            response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
        }
        Ok(response)
    }
}

/// A handshake is none that could do without what follows.
fn has_get(request: &Request) -> bool {
    let contract: Option<&Arc<Contract>> = request.extensions().get();
    let found = contract.map(|contract| contract.find(&Method::GET, request.uri().path()));
    matches!(found, Some(Found::Operation(operation, _)) if !operation.is_websocket)
}
