//! One request and its response.

use std::{
    convert::Infallible,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http_body_util::combinators::BoxBody;
use hyper::{
    HeaderMap, Request, Response, StatusCode, Version,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
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
use crate::domain::{World, timestamp};

/// How much of a response goes to hyper at once, in bytes: as slowly as the peer takes one after the other, so slowly the
/// next is given.
const PIECE: usize = 64 << 10;

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
    world: World,
) -> impl Future<Output = Result<Response<impl Body<Data: Send, Error = std::io::Error> + use<E>>, Infallible>> + use<E>
{
    let http2 = request.version() == Version::HTTP_2;
    let (running, ambiguous) = activity.begin(http2, !request.body().is_end_stream());
    let refusal =
        if ambiguous { Some(Refusal::Framing) } else { refusal(request.version(), request.headers(), max_headers) };
    let local = LocalAddr(Addr::SocketAddr(origin.local));
    let peer = RemoteAddr(Addr::SocketAddr(origin.peer));
    let (scheme, origin_peer) = (origin.scheme.clone(), origin.peer);
    let (head, body) = request.into_parts();
    let body = Upload::new(body, http2, Arc::clone(activity));
    async move {
        let response = match refusal {
            None => {
                let head = poem::RequestParts::from((head, local, peer, scheme));
                let body = poem::Body::from(BoxBody::new(body));
                endpoint.get_response(poem::Request::from_parts(head, body)).await
            }
            Some(refusal) => refusal.response(origin_peer, world),
        };
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            running.activity().upgrade();
        }
        let response: Response<_> = response.into();
        Ok(response.map(|inner| {
            running.offers();
            Counted { inner, rest: Bytes::new(), running }
        }))
    }
}

/// Why a request never reaches the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Several `Content-Length`s, or one beside `Transfer-Encoding`, or a coding other than `chunked` alone, or a line
    /// that ends without a carriage return.
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
    /// The error in the envelope of the API. The connection closes afterwards, because nobody can tell where the next
    /// request begins.
    fn response(self, peer: SocketAddr, world: World) -> poem::Response {
        let (status, message) = match self {
            Self::Framing => (StatusCode::BAD_REQUEST, "the request's framing is ambiguous"),
            Self::Host => (StatusCode::BAD_REQUEST, "an HTTP/1.1 request needs exactly one Host header"),
            Self::Headers => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers"),
        };
        let (code, id, timestamp) = (status.as_u16(), (world.new_id)(), timestamp((world.now)()));
        tracing::info!(http.status = code, request.id = id, client.address = %peer.ip(), "refused: {message}");
        poem::Response::builder()
            .status(status)
            .header(header::CONNECTION, "close")
            .header("x-request-id", &id)
            .content_type("application/json")
            .body(format!(
                r#"{{"error":{{"code":{code},"message":"{message}","type":"ValidationError"}},"request_id":"{id}","success":false,"timestamp":"{timestamp}"}}"#
            ))
    }
}

/// A response body in pieces, whose end is the end of the request.
struct Counted<B> {
    inner: B,
    /// Of the last piece that came from `inner`, what hyper did not get yet.
    rest: Bytes,
    running: Running,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if self.rest.is_empty() {
            let polled = Pin::new(&mut self.inner).poll_frame(cx);
            if polled.is_pending() {
                self.running.waits();
            }
            match ready!(polled).transpose()?.map(Frame::into_data) {
                Some(Ok(data)) => self.rest = data,
                Some(Err(other)) => return Poll::Ready(Some(Ok(other))),
                None => return Poll::Ready(None),
            }
        }
        self.running.offers();
        let length = self.rest.len().min(PIECE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (inner, rest) = (self.inner.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
