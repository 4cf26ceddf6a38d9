//! A socket (plain or TLS) that tells what passes, and closes in a way that loses no response.

use std::{
    future::Future,
    io::{self, IoSlice},
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};

use super::{Phase, activity::Activity, refusal, slots::Slot};
use crate::domain::World;

pub(super) struct Socket<S> {
    inner: S,
    activity: Arc<Activity>,
    phase: watch::Receiver<Phase>,
    /// Resolves when the server cuts; made only for an upgraded connection, which no task of ours watches.
    cut: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    closed: bool,
    /// For whom, and with what, words are put to hyper's refusals.
    words: (IpAddr, World),
    /// What goes out instead of such a refusal, as far as the peer did not take it yet.
    instead: Option<Bytes>,
    /// Here and not in the connection's task, because an upgraded connection outlives that.
    _slot: Slot,
}

impl<S> Socket<S> {
    pub fn new(
        inner: S,
        activity: Arc<Activity>,
        phase: watch::Receiver<Phase>,
        slot: Slot,
        words: (IpAddr, World),
    ) -> Self {
        Self { inner, activity, phase, cut: None, closed: false, words, instead: None, _slot: slot }
    }

    fn sent(&self, result: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        self.activity.sent(result.is_pending(), 0);
        result
    }

    fn wrote(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let bytes = if let Poll::Ready(Ok(bytes)) = &result { *bytes } else { 0 };
        self.activity.sent(result.is_pending(), bytes);
        result
    }

    fn poll_cut(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if !self.activity.is_upgraded() {
            return Poll::Pending;
        }
        let cut = self.cut.get_or_insert_with(|| Box::pin(reached(self.phase.clone(), Phase::Cut)));
        ready!(cut.as_mut().poll(cx));
        Poll::Ready(io::Error::new(io::ErrorKind::ConnectionAborted, "the gateway stops"))
    }
}

/// Resolves once the server is in this phase or beyond; also when it is gone without a word.
pub(super) async fn reached(mut phase: watch::Receiver<Phase>, wanted: Phase) {
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let bytes = &buf.filled()[before..];
                if !bytes.is_empty() {
                    this.activity.received(bytes);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_cut(cx).map(Err),
        }
    }
}

impl<S: AsyncWrite + Unpin> Socket<S> {
    /// Writes all that goes out instead.
    fn poll_instead(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.instead.as_mut().filter(|rest| !rest.is_empty()) {
            let result = Pin::new(&mut self.inner).poll_write(cx, rest);
            self.activity.sent(result.is_pending(), 0);
            match ready!(result)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                taken => rest.advance(taken),
            }
        }
        self.instead = None;
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.instead.is_none() && this.activity.reads_head() {
            this.instead = refusal::in_words(buf, this.words.0, this.words.1);
        }
        if this.instead.is_some() {
            ready!(this.poll_instead(cx))?;
            return Poll::Ready(Ok(buf.len()));
        }
        let result = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.wrote(result)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [all] = bufs {
            return self.poll_write(cx, all);
        }
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.wrote(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let result = Pin::new(&mut this.inner).poll_flush(cx);
        this.sent(result)
    }

    /// Closes our side, then reads and forgets what the peer still sends, until it closes too or its time is over.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.closed {
            let result = Pin::new(&mut this.inner).poll_shutdown(cx);
            ready!(this.sent(result))?;
            this.closed = true;
        }
        if this.activity.is_upgraded() || !this.activity.must_linger() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut space = [0; 4096];
            let mut unread = ReadBuf::new(&mut space);
            match ready!(Pin::new(&mut this.inner).poll_read(cx, &mut unread)) {
                Ok(()) if !unread.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
