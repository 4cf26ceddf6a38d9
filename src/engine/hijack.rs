//! A connection that Podman gave up to a process: its input one way, its two outputs the other.

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio_util::codec::FramedRead;

use super::frames::{self, Frames, Output};
use crate::domain::Result;

/// Both directions. Dropping both cuts the connection, and the process reads the end of its input.
pub(super) struct Hijacked {
    pub(super) input: Input,
    pub(super) outputs: Outputs,
}

/// The way in.
pub(super) struct Input(WriteHalf<TokioIo<Upgraded>>);

/// The way out. Whoever does not read holds the process back; nothing is kept but one piece.
pub(super) struct Outputs(FramedRead<ReadHalf<TokioIo<Upgraded>>, Frames>);

impl Hijacked {
    pub(super) fn new(connection: Upgraded) -> Self {
        let (output, input) = tokio::io::split(TokioIo::new(connection));
        Self { input: Input(input), outputs: Outputs(FramedRead::new(output, Frames::in_pieces())) }
    }
}

impl Input {
    /// Waits until the bytes are on their way.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_all(bytes).await
    }

    /// There is no more.
    pub(super) async fn end(&mut self) -> std::io::Result<()> {
        self.0.shutdown().await
    }
}

impl Outputs {
    /// What is said next; none at the end. May be dropped at any time without losing anything.
    pub(super) async fn next(&mut self) -> Result<Option<(Output, Bytes)>> {
        self.0.next().await.transpose().map_err(frames::failed)
    }
}
