//! Whose token it is. Refuses nothing itself: an operation that needs a caller does.

use std::sync::Arc;

use poem::http::header::AUTHORIZATION;
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use super::observe::SeenAs;
use crate::api::caller::Recognised;
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
        let all = || [AUTHORIZATION.as_str(), API_KEY].into_iter().flat_map(|name| request.headers().get_all(name));
        let header = all().next().ok_or_else(missing)?;
        if all().count() > 1 {
            return Err(Error::new(Kind::Unauthenticated("invalid_request"), "there is more than one Authorization"));
        }
        if request.headers().contains_key(API_KEY) {
            return self.auth.recognise_key(header.to_str().map_err(|_| missing())?).await;
        }
        let (scheme, token) = header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(missing());
        }
        self.auth.recognise(token.trim()).await
    }
}
