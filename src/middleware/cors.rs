//! Cross-origin calls from the browser origins that the configuration names, and headers every answer carries.

use poem::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use crate::config::Live;
use crate::domain::{Error, Kind};

/// Exact origins; none by default.
pub struct Cors {
    pub origins: Live<Vec<String>>,
}

pub struct WithCors<E> {
    origins: Live<Vec<String>>,
    inner: E,
}

impl<E: Endpoint> Middleware<E> for Cors {
    type Output = WithCors<E>;

    fn transform(&self, inner: E) -> WithCors<E> {
        WithCors { origins: self.origins.clone(), inner }
    }
}

impl<E: Endpoint> Endpoint for WithCors<E> {
    type Output = Response;

    async fn call(&self, request: Request) -> Result<Response> {
        let asked = request.headers().get(header::ORIGIN).cloned();
        let preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
            && asked.is_some();
        let is_known =
            |origin: &HeaderValue| self.origins.get().iter().any(|known| known.as_bytes() == origin.as_bytes());
        let origin = asked.filter(is_known);
        if preflight && origin.is_none() {
            // Its page learns nothing, its developer does.
            return Err(Error::new(Kind::Forbidden, "no page of this origin may call: see http.cors_origins").into());
        }
        let mut response = if preflight {
            StatusCode::NO_CONTENT.into_response()
        } else {
            self.inner.call(request).await?.into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // Answers are about one tenant at one moment; what may be kept says so itself.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if let Some(origin) = origin {
            allow(headers, origin, preflight);
        }
        Ok(response)
    }
}

/// Whatever an operation reads that browsers do not send unasked.
const ALLOWED: &str = "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, If-Range, Last-Event-ID, \
                       Range, traceparent, X-API-Key";

/// Whatever an answer says in its headers that browsers do not show unasked.
const EXPOSED: &str = "Accept-Ranges, Allow, Content-Disposition, Content-Range, ETag, Idempotency-Replayed, \
                       Last-Modified, RateLimit, RateLimit-Policy, Retry-After, WWW-Authenticate, X-Request-Id";

/// Lets the browser read the answer.
fn allow(headers: &mut HeaderMap, origin: HeaderValue, preflight: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if preflight {
        let methods = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
}
