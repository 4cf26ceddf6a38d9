//! OAuth2's tools read no envelope: whatever keeps their form from being looked at is said as the token endpoint says it
//! (RFC 6749, 5.2), with the status and the headers that it has.

use std::sync::Arc;

use poem::http::{HeaderValue, header};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};
use poem_openapi::types::ToJSON;

use crate::api::contract::{Contract, Found};
use crate::api::error::ErrorMessage;
use crate::api::oauth::{OAuthError, TOKEN_OPERATION, is_form};

/// Translates.
pub struct OAuth;

pub struct Translated<E> {
    inner: E,
}

impl<E: Endpoint> Middleware<E> for OAuth {
    type Output = Translated<E>;

    fn transform(&self, inner: E) -> Translated<E> {
        Translated { inner }
    }
}

impl<E: Endpoint> Endpoint for Translated<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let (asks_for_token, is_form) = (asks_for_token(&request), is_form(&request));
        let mut response = self.inner.call(request).await?.into_response();
        if !asks_for_token {
            return Ok(response);
        }
        // RFC 6749, 5.1, beside the Cache-Control that every answer has.
        response.headers_mut().insert(header::PRAGMA, HeaderValue::from_static("no-cache"));
        if let Some(ErrorMessage(message)) = response.data().filter(|_| is_form) {
            let error = OAuthError::of_status(response.status(), message);
            response.set_body(error.to_json_string());
        }
        Ok(response)
    }
}

fn asks_for_token(request: &Request) -> bool {
    let contract: Option<&Arc<Contract>> = request.extensions().get();
    contract.is_some_and(|contract| match contract.find(request.method(), request.uri().path()) {
        Found::Operation(operation, _) => operation.id == TOKEN_OPERATION,
        Found::OtherMethods(..) | Found::Nothing => false,
    })
}
