//! The audit log around every operation: what was begun gets its outcome, and what was refused with 403 is noted before
//! it is answered. Reads and 404s leave nothing.

use std::sync::Arc;

use poem::http::header::CONTENT_TYPE;
use poem::http::{Method, StatusCode};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use super::observe::RequestId;
use crate::api::caller::{Peer, Recognised};
use crate::api::contract::{Contract, Found};
use crate::api::error::{from_framework, status_and_type};
use crate::domain::Error;
use crate::store::{Course, Object, Outcome, Store};

/// Gives every operation its course, and looks at how it ended.
pub struct Audit {
    pub store: Store,
}

pub struct Audited<E> {
    store: Store,
    inner: E,
}

impl<E: Endpoint> Middleware<E> for Audit {
    type Output = Audited<E>;

    fn transform(&self, inner: E) -> Audited<E> {
        Audited { store: self.store.clone(), inner }
    }
}

impl<E: Endpoint> Endpoint for Audited<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let missing = || Error::internal("the audit layer stands outside of what it needs");
        let contract: Arc<Contract> = request.extensions().get().cloned().ok_or_else(missing)?;
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let Found::Operation(operation, _) = contract.find(&method, &path) else {
            return self.inner.call(request).await.map(IntoResponse::into_response);
        };
        let Peer(address) = *request.extensions().get().ok_or_else(missing)?;
        let Recognised(who) = request.extensions().get().cloned().ok_or_else(missing)?;
        let course = Course::new(&operation.id, &RequestId::of(&request).0, address);
        request.extensions_mut().insert(Arc::clone(&course));
        let answered = match self.inner.call(request).await {
            Ok(response) => Ok(response.into_response()),
            Err(error) => Err(from_framework(error)),
        };
        let begun = course.take_begun();
        let outcome = outcome(&answered);
        if begun.is_empty() && outcome.status == Some(StatusCode::FORBIDDEN.as_u16()) {
            let principal = who.as_ref().as_ref().ok();
            self.store.note_refusal(&course, principal, object(&contract, &method, &path), outcome).await?;
        } else {
            for entry in begun {
                if goes_on(&answered) { entry.note(outcome.clone()) } else { entry.end(outcome.clone()) }
            }
        }
        answered.map_err(poem::Error::from)
    }
}

/// Whether what was begun outlasts its answer: a stream or an upgrade. Whoever carries it on holds the entry.
fn goes_on(answered: &Result<Response, Error>) -> bool {
    answered.as_ref().is_ok_and(|response| {
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        response.status() == StatusCode::SWITCHING_PROTOCOLS
            || content_type.is_some_and(|content_type| content_type.starts_with("text/event-stream"))
    })
}

fn outcome(answered: &Result<Response, Error>) -> Outcome {
    match answered {
        Err(error) => {
            let (status, name) = status_and_type(&error.kind);
            Outcome { word: name.into(), status: Some(status.as_u16()), reason: Some(error.message.to_string()) }
        }
        Ok(response) => {
            let status = response.status();
            let is_failure = status.is_client_error() || status.is_server_error();
            let word = if is_failure { Outcome::FAILED } else { Outcome::SUCCESS };
            Outcome { word: word.into(), status: Some(status.as_u16()), reason: None }
        }
    }
}

/// What the path names, where nothing was found that would say more.
fn object(contract: &Contract, method: &Method, path: &str) -> Object {
    let (kind, name) = contract.object(method, path);
    match name {
        Some(name) => Object::named(&kind, name),
        None => Object::of_kind(&kind),
    }
}
