//! What the document promises about a request's form, before any operation sees it.

use std::sync::Arc;

use poem::http::uri::Authority;
use poem::http::{HeaderMap, header};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use crate::api::caller::Recognised;
use crate::api::contract::{Contract, Found, refusal};
use crate::api::{PREFIX, error, has_body};
use crate::domain::Error;

/// Holds paths, methods, queries and body types against the document.
pub struct Syntax;

pub struct Checked<E>(E);

impl<E: Endpoint> Middleware<E> for Syntax {
    type Output = Checked<E>;

    fn transform(&self, inner: E) -> Checked<E> {
        Checked(inner)
    }
}

impl<E: Endpoint> Endpoint for Checked<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        check_head(request.headers())?;
        // What an operation does not take is refused, not left unread: it was meant to change something.
        if request.uri().path().starts_with(PREFIX) && !check(&request)? && has_body(&mut request).await? {
            return Err(no_body(&request).into());
        }
        self.0.call(request).await.map(IntoResponse::into_response)
    }
}

/// What may be there once is, and a host is one (RFC 9112, 3.2): whoever stands before us may go by the other.
fn check_head(headers: &HeaderMap) -> Result<(), Error> {
    for name in [header::HOST, header::CONTENT_TYPE, header::RANGE] {
        if headers.get_all(&name).iter().nth(1).is_some() {
            return Err(Error::invalid(format!("{name} is there twice")));
        }
    }
    let is_host =
        |host: &[u8]| host.is_empty() || Authority::try_from(host).is_ok_and(|host| !host.as_str().contains('@'));
    match headers.get(header::HOST) {
        Some(host) if !is_host(host.as_bytes()) => Err(Error::invalid("the Host header names no host")),
        _ => Ok(()),
    }
}

/// What is said of a body where none is taken.
fn no_body(request: &Request) -> Error {
    let contract: Option<&Arc<Contract>> = request.extensions().get();
    match contract.map(|contract| contract.find(request.method(), request.uri().path())) {
        Some(Found::Operation(operation, _)) => operation.no_body(),
        _ => error::no_route(),
    }
}

/// Whether it may have a body.
fn check(request: &Request) -> Result<bool, Error> {
    // No name has it, and PostgreSQL no text.
    if request.uri().path().contains("%00") {
        return Err(Error::invalid("a NUL character has no place in a path"));
    }
    if percent_encoding::percent_decode_str(request.uri().path()).decode_utf8().is_err() {
        return Err(Error::invalid("the path is not UTF-8"));
    }
    let missing = || Error::internal("the syntax layer stands outside of what it needs");
    let contract: &Arc<Contract> = request.extensions().get().ok_or_else(missing)?;
    let found = contract.find(request.method(), request.uri().path());
    match &found {
        Found::Operation(operation, _) => {
            // Who comes before what: a stranger learns nothing about an operation's form.
            if !operation.public {
                let Recognised(who) = request.extensions().get().ok_or_else(missing)?;
                who.as_ref().as_ref().map_err(Error::again)?;
            }
            operation.check(request)?;
            Ok(operation.takes_body())
        }
        Found::OtherMethods(..) | Found::Nothing => Err(refusal(&found).unwrap_or_else(error::no_route)),
    }
}
