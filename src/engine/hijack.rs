//! A connection that Podman gave up to a process: its input one way, its two outputs the other.

use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::codec::FramedRead;

use super::frames::{self, Frames, Output};
use crate::domain::Result;

/// Both directions. Dropping both cuts the connection, and the process reads the end of its input.
///
/// Mostly: conmon 2.1.6 forgets that end where a connection goes while more was said than was read. So a process of ours
/// is told the end first, and what it still says is read for a while.
pub(super) struct Hijacked {
    pub(super) input: Input,
    pub(super) outputs: Outputs,
}

/// The way in.
pub(super) struct Input {
    half: Option<WriteHalf<TokioIo<Upgraded>>>,
    ends_with_us: bool,
}

/// The way out. Whoever does not read holds the process back; nothing is kept but one piece.
pub(super) struct Outputs {
    frames: Option<FramedRead<ReadHalf<TokioIo<Upgraded>>, Frames>>,
    ends_with_us: bool,
}

/// How long a process may take to end that was told to.
const FAREWELL: Duration = Duration::from_secs(10);

impl Hijacked {
    /// To a process that goes on without us.
    pub(super) fn new(connection: Upgraded) -> Self {
        Self::of(connection, false)
    }

    /// To a process that ends with us.
    pub(super) fn ending_with_us(connection: Upgraded) -> Self {
        Self::of(connection, true)
    }

    fn of(connection: Upgraded, ends_with_us: bool) -> Self {
        let (output, input) = tokio::io::split(TokioIo::new(connection));
        let frames = FramedRead::new(output, Frames::in_pieces());
        Self {
            input: Input { half: Some(input), ends_with_us },
            outputs: Outputs { frames: Some(frames), ends_with_us },
        }
    }
}

impl Input {
    /// Waits until the bytes are on their way.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match &mut self.half {
            Some(half) => half.write_all(bytes).await,
            None => Ok(()),
        }
    }

    /// There is no more.
    pub(super) async fn end(&mut self) -> std::io::Result<()> {
        match &mut self.half {
            Some(half) => half.shutdown().await,
            None => Ok(()),
        }
    }
}

impl Outputs {
    /// What is said next; none at the end. May be dropped at any time without losing anything.
    pub(super) async fn next(&mut self) -> Result<Option<(Output, Bytes)>> {
        match &mut self.frames {
            Some(frames) => frames.next().await.transpose().map_err(frames::failed),
            None => Ok(None),
        }
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        if let Some(mut half) = self.half.take().filter(|_| self.ends_with_us)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move { drop(timeout(FAREWELL, half.shutdown()).await) });
        }
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        if let Some(mut frames) = self.frames.take().filter(|_| self.ends_with_us)
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(async move {
                let to_the_end = async { while let Some(Ok(_)) = frames.next().await {} };
                drop(timeout(FAREWELL, to_the_end).await);
            });
        }
    }
}
