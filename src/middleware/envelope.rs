//! Whatever failed becomes the envelope: a refusal, a framework's error, a panic.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use super::observe::RequestId;
use crate::api::error::{from_framework, respond, status_and_type};
use crate::domain::{Error, World, timestamp};

/// Catches everything.
pub struct Envelope {
    pub world: World,
}

pub struct Enveloped<E> {
    world: World,
    inner: E,
}

impl<E: Endpoint> Middleware<E> for Envelope {
    type Output = Enveloped<E>;

    fn transform(&self, inner: E) -> Enveloped<E> {
        Enveloped { world: self.world, inner }
    }
}

impl<E: Endpoint> Endpoint for Enveloped<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let id = RequestId::of(&request);
        let error = match AssertUnwindSafe(self.inner.call(request)).catch_unwind().await {
            Ok(Ok(response)) => return Ok(response.into_response()),
            Ok(Err(error)) => from_framework(error),
            Err(panic) => {
                let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
                let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
                Error::internal(format!("panic: {}", text.unwrap_or_default()))
            }
        };
        Ok(answer(&error, &id, self.world))
    }
}

/// The envelope for a refusal; its cause goes to the log.
pub fn answer(error: &Error, id: &RequestId, world: World) -> Response {
    if let Some(cause) = &error.cause {
        if status_and_type(&error.kind).0.is_server_error() {
            tracing::error!(request.id = id.0, cause, "{}", error.message);
        } else {
            tracing::debug!(request.id = id.0, cause, "{}", error.message);
        }
    }
    respond(error, &id.0, &timestamp((world.now)()))
}
