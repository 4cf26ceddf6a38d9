//! Answers that are made and not yet taken: what they hold, they hold to their last byte.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body, Frame, SizeHint};
use poem::{Endpoint, IntoResponse, Middleware, Request, Response, Result};

use crate::api::caller::{Held, UntilTaken};

/// Gives operations a place to put what their answers hold.
pub struct Untaken;

pub struct Holding<E>(E);

impl<E: Endpoint> Middleware<E> for Untaken {
    type Output = Holding<E>;

    fn transform(&self, inner: E) -> Holding<E> {
        Holding(inner)
    }
}

impl<E: Endpoint> Endpoint for Holding<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> Result<Response> {
        let until_taken = UntilTaken::default();
        request.extensions_mut().insert(until_taken.clone());
        let mut response = self.0.call(request).await?.into_response();
        let held = until_taken.take();
        if !held.is_empty() {
            let inner = BoxBody::from(response.take_body());
            response.set_body(poem::Body::from(BoxBody::new(Answer { inner, _held: held })));
        }
        Ok(response)
    }
}

struct Answer {
    inner: BoxBody<Bytes, io::Error>,
    _held: Vec<Held>,
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
