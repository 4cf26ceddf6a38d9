//! A request with an idempotency key runs once: sent again, it is answered as before.

use std::sync::Arc;
use std::time::Duration;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{Body, Endpoint, IntoResponse, Middleware, Request, Response, Result};
use tokio_util::task::TaskTracker;

use crate::api::error::from_framework;
use crate::api::idempotency::{REPLAYED, TakesKey, keyed, without_secret};
use crate::domain::{Error, Kind};
use crate::store::{Claimed, KeyClaim, Store};

/// Looks keys up, and keeps what those requests came to.
#[derive(Clone)]
pub struct Idempotency {
    /// Where keys and answers are.
    pub store: Store,
    /// How long an answer is good.
    pub kept: Duration,
    /// Requests that run, whether their callers wait or not.
    pub tasks: TaskTracker,
}

pub struct Once<E> {
    layer: Idempotency,
    inner: Arc<E>,
}

impl<E: Endpoint + 'static> Middleware<E> for Idempotency {
    type Output = Once<E>;

    fn transform(&self, inner: E) -> Once<E> {
        Once { layer: self.clone(), inner: Arc::new(inner) }
    }
}

impl<E: Endpoint + 'static> Endpoint for Once<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let Some((keyed, takes)) = keyed(&mut request).await? else {
            return self.inner.call(request).await.map(IntoResponse::into_response);
        };
        let claim = match self.layer.store.claim_key(&keyed, self.layer.kept).await? {
            Claimed::Ours(claim) => claim,
            Claimed::Answered { status, body } => return replay(status, body),
            Claimed::Unfinished => {
                return Err(Error::new(Kind::Unfinished, "the request with this Idempotency-Key still runs").into());
            }
            Claimed::Reused => {
                return Err(Error::new(Kind::KeyReused, "this Idempotency-Key was that of another request").into());
            }
        };
        request.extensions_mut().insert(claim.attempt.clone());
        let (inner, store) = (Arc::clone(&self.inner), self.layer.store.clone());
        // A caller that leaves is the one that comes back with the same key.
        let running = self.layer.tasks.spawn(async move {
            let outcome = inner.call(request).await.map(IntoResponse::into_response);
            settle(&store, &claim, takes, outcome).await
        });
        running.await.map_err(Error::internal)?
    }
}

/// Keeps the answer of a success; lets go of the key otherwise.
async fn settle(store: &Store, claim: &KeyClaim, takes: TakesKey, outcome: Result<Response>) -> Result<Response> {
    match outcome {
        Ok(response) if response.status().is_success() => {
            let (parts, body) = response.into_parts();
            let body = body.into_bytes().await.map_err(Error::internal)?;
            let kept = match without_secret(takes, &body) {
                Ok(kept) => store.record_answer(claim, parts.status.as_u16(), &kept).await,
                Err(error) => Err(error),
            };
            if let Err(error) = kept {
                // The next try looks for what this one made.
                tracing::warn!(?error, "the answer to a request with an idempotency key could not be kept");
            }
            let mut response = Response::from_parts(parts, Body::from_bytes(body));
            if claim.attempt.found_it_made() {
                mark(&mut response);
            }
            Ok(response)
        }
        outcome => {
            let outcome = outcome.map_err(from_framework);
            let done_nothing = match &outcome {
                Ok(response) => is_refusal(response.status()),
                Err(error) => error.kind != Kind::Unfinished && is_refusal(poem::error::ResponseError::status(error)),
            };
            let let_go = if done_nothing { store.release_key(claim).await } else { store.abandon_key(claim).await };
            if let Err(error) = let_go {
                tracing::warn!(?error, "an idempotency key could not be let go");
            }
            Ok(outcome?)
        }
    }
}

/// Whether nothing was done, as far as we know. After a timeout we do not.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::REQUEST_TIMEOUT
}

fn replay(status: u16, body: String) -> Result<Response> {
    let status = StatusCode::from_u16(status).map_err(Error::internal)?;
    let response = Response::builder().status(status).header(header::CONTENT_TYPE, "application/json; charset=utf-8");
    let mut response = response.body(body);
    mark(&mut response);
    Ok(response)
}

fn mark(response: &mut Response) {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
}
