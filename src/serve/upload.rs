//! A request body that is read on for a moment when nobody wants the rest of it.
//!
//! An early answer (401, 413) to an upload over HTTP/2 makes h2 reset the stream behind the complete response. RFC 9113,
//! 8.1 wants the client to keep that response; curl 7.88 (Debian 12) throws it away and reports a framing error, where it
//! would finish its upload and show the answer. HTTP/1 has its own remedy, the lingering close of `socket`.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use tokio::{runtime::Handle, time::timeout};

use super::activity::{Activity, LINGER};

pub(super) struct Upload {
    /// Taken only when dropped.
    inner: Option<Incoming>,
    http2: bool,
    activity: Arc<Activity>,
}

impl Upload {
    pub fn new(inner: Incoming, http2: bool, activity: Arc<Activity>) -> Self {
        Self { inner: Some(inner), http2, activity }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(&mut *inner).poll_frame(cx));
        // On HTTP/2, others may run on the same connection, and there is nothing to tell.
        if !self.http2 && (frame.is_none() || self.is_end_stream()) {
            self.activity.body_ended();
        }
        Poll::Ready(frame.map(|frame| frame.map_err(io::Error::other)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.http2
            && let Some(rest) = self.inner.take()
            && !rest.is_end_stream()
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(timeout(LINGER, forget(rest)));
        }
    }
}

async fn forget(mut rest: Incoming) {
    while let Some(Ok(_)) = std::future::poll_fn(|cx| Pin::new(&mut rest).poll_frame(cx)).await {}
}
