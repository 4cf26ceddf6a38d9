//! Whose token it is. Refuses nothing itself: an operation that needs a caller does.

use std::sync::Arc;

use poem::http::header::AUTHORIZATION;
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use super::observe::SeenAs;
use crate::api::caller::Recognised;
use crate::api::contract::{Contract, Found};
use crate::api::websocket;
use crate::auth::Authenticator;
use crate::domain::{Error, Kind, Principal};

/// Where a program may put its key.
const API_KEY: &str = "x-api-key";

/// Recognises bearer tokens and keys.
pub struct Identify {
    pub auth: Authenticator,
}

pub struct Identified<E> {
    auth: Authenticator,
    inner: E,
}

impl<E: Endpoint> Middleware<E> for Identify {
    type Output = Identified<E>;

    fn transform(&self, inner: E) -> Identified<E> {
        Identified { auth: self.auth.clone(), inner }
    }
}

impl<E: Endpoint> Endpoint for Identified<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let recognised = Recognised(Arc::new(self.recognise(&request).await));
        request.extensions_mut().insert(recognised.clone());
        let mut response = self.inner.call(request).await?.into_response();
        response.set_data(SeenAs(recognised));
        Ok(response)
    }
}

impl<E> Identified<E> {
    async fn recognise(&self, request: &Request) -> Result<Principal, Error> {
        let missing = || Error::new(Kind::Unauthenticated(""), "a bearer token or an API key is needed");
        let one = |name: &str| {
            let mut all = request.headers().get_all(name).into_iter();
            match (all.next(), all.next()) {
                (Some(header), None) => header.to_str().map(Some).map_err(|_| missing()),
                (None, _) => Ok(None),
                _ => Err(two()),
            }
        };
        let bearer = match one(AUTHORIZATION.as_str())?.map(|text| text.split_once(' ').unwrap_or((text, ""))) {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Some(token.trim()),
            Some(_) => return Err(missing()),
            None => None,
        };
        match (bearer, one(API_KEY)?, ticket(request)) {
            // Generated clients put what they were given wherever the document takes one.
            (Some(token), Some(key), _) if token != key => Err(two()),
            (None, None, Some(ticket)) => {
                let redeemed = self.auth.redeem_ticket(&ticket, request.uri().path()).await;
                redeemed.map_err(|error| match error.kind {
                    Kind::Unauthenticated(why) => error.said(Kind::Unauthenticated(why), NO_TICKET),
                    _ => error,
                })
            }
            (_, _, Some(_)) => Err(two()),
            (Some(token), _, None) => self.auth.recognise(token).await,
            (None, Some(key), None) => self.auth.recognise_key(key).await,
            (None, None, None) => Err(missing()),
        }
    }
}

const NO_TICKET: &str = "the ticket is not valid: it is good once, for 30 seconds, and for the path it was made for";

fn two() -> Error {
    Error::new(Kind::Unauthenticated("invalid_request"), "there is more than one Authorization")
}

/// The ticket of a handshake. Anywhere else it is a parameter that nobody knows, and stays unused.
fn ticket(request: &Request) -> Option<String> {
    let contract: &Arc<Contract> = request.extensions().get()?;
    match contract.find(request.method(), request.uri().path()) {
        Found::Operation(operation, _) if operation.is_websocket && websocket::is_upgrade(request) => {
            websocket::ticket(request)
        }
        _ => None,
    }
}
