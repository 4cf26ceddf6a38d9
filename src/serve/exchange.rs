//! One request and its response.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body_util::combinators::BoxBody;
use hyper::{
    HeaderMap, Request, Response, StatusCode, Version,
    body::{Body, Frame, Incoming, SizeHint},
    header,
};
use poem::{
    Addr, Endpoint,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};

use super::{
    activity::{Activity, Running},
    upload::Upload,
};

/// Where a connection's requests come from.
#[derive(Clone)]
pub(super) struct Origin {
    pub local: SocketAddr,
    pub peer: SocketAddr,
    pub scheme: Scheme,
}

/// Answers one request: with the endpoint, or with a refusal where the head should not have been sent.
///
/// Must be called when hyper dispatches the request, not later: what `activity` knows is about the latest head.
pub(super) fn answer<E: Endpoint + 'static>(
    request: Request<Incoming>,
    endpoint: Arc<E>,
    origin: &Origin,
    activity: &Arc<Activity>,
    max_headers: usize,
) -> impl Future<Output = Result<Response<impl Body<Data: Send, Error = std::io::Error> + use<E>>, Infallible>> + use<E>
{
    let http2 = request.version() == Version::HTTP_2;
    let (running, ambiguous) = activity.begin(http2, !request.body().is_end_stream());
    let refusal =
        if ambiguous { Some(Refusal::Framing) } else { refusal(request.version(), request.headers(), max_headers) };
    let local = LocalAddr(Addr::SocketAddr(origin.local));
    let peer = RemoteAddr(Addr::SocketAddr(origin.peer));
    let scheme = origin.scheme.clone();
    let (head, body) = request.into_parts();
    let body = Upload::new(body, http2);
    async move {
        let response = match refusal {
            None => {
                let head = poem::RequestParts::from((head, local, peer, scheme));
                let body = poem::Body::from(BoxBody::new(body));
                endpoint.get_response(poem::Request::from_parts(head, body)).await
            }
            Some(refusal) => refusal.response(),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            running.activity().upgrade();
        }
        let response: Response<_> = response.into();
        Ok(response.map(|inner| Counted { inner, _running: running }))
    }
}

/// Why a request never reaches the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Several `Content-Length`s, or one beside `Transfer-Encoding`, or a coding other than `chunked` alone.
    Framing,
    /// HTTP/1.1 wants exactly one `Host` (RFC 9112, 3.2).
    Host,
    /// hyper enforces the count on HTTP/1 only.
    Headers,
}

fn refusal(version: Version, headers: &HeaderMap, max_headers: usize) -> Option<Refusal> {
    let count = |name| headers.get_all(name).iter().count();
    if headers.len() > max_headers {
        Some(Refusal::Headers)
    } else if count(header::TRANSFER_ENCODING) > 1
        || headers
            .get(header::TRANSFER_ENCODING)
            .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        // hyper takes whatever ends in `chunked` and would hand over the rest still coded.
        Some(Refusal::Framing)
    } else if version == Version::HTTP_11 && count(header::HOST) != 1 {
        Some(Refusal::Host)
    } else {
        None
    }
}

impl Refusal {
    /// The error in the envelope of the API, without the fields that only the layers behind know.
    /// The connection closes afterwards, because nobody can tell where the next request begins.
    fn response(self) -> poem::Response {
        let (status, message) = match self {
            Self::Framing => (StatusCode::BAD_REQUEST, "the request's framing is ambiguous"),
            Self::Host => (StatusCode::BAD_REQUEST, "an HTTP/1.1 request needs exactly one Host header"),
            Self::Headers => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers"),
        };
        let code = status.as_u16();
        poem::Response::builder()
            .status(status)
            .header(header::CONNECTION, "close")
            .content_type("application/json")
            .body(format!(
                r#"{{"success":false,"error":{{"message":"{message}","code":{code},"type":"ValidationError","details":[]}}}}"#
            ))
    }
}

/// A response body whose end is the end of the request.
struct Counted<B> {
    inner: B,
    _running: Running,
}

impl<B: Body + Unpin> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
