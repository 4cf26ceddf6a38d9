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
    Request, Response, StatusCode, Version,
    body::{Body, Bytes, Frame, Incoming, SizeHint},
};
use poem::{
    Addr, Endpoint,
    http::uri::Scheme,
    web::{LocalAddr, RemoteAddr},
};

use super::{
    activity::{Activity, Running},
    refusal::Refusal,
    upload::Upload,
};
use crate::domain::World;

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
        if ambiguous { Some(Refusal::Framing) } else { Refusal::of(request.version(), request.headers(), max_headers) };
    let local = LocalAddr(Addr::SocketAddr(origin.local));
    let peer = RemoteAddr(Addr::SocketAddr(origin.peer));
    let (scheme, peer_ip) = (origin.scheme.clone(), origin.peer.ip());
    let (head, body) = request.into_parts();
    let body = Upload::new(body, http2, Arc::clone(activity));
    async move {
        let response = match refusal {
            None => {
                let head = poem::RequestParts::from((head, local, peer, scheme));
                let body = poem::Body::from(BoxBody::new(body));
                endpoint.get_response(poem::Request::from_parts(head, body)).await
            }
            Some(refusal) => refusal.response(peer_ip, world),
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
