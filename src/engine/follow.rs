//! A container's log as it is written, from any place of it on, without a line lost or told twice.
//!
//! Podman answers a follower only once there is something to tell (4.3.1), tells the time of a line to the second, and
//! loses parts of lines where it is asked for the last few. So everything is read from the second in question on, and
//! counted here. See [`LogPosition`].

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, Stream, StreamExt};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc;
use tokio_util::codec::FramedRead;
use tokio_util::io::StreamReader;

use super::frames::{self, Frames, Output, Piece};
use super::{Engine, failure};
use crate::domain::{Beginning, Error, Kind, LogPosition, Result};
use crate::policy::grant::ContainerGrant;

/// Between two questions about a container that goes on although its log did not.
const PAUSE: Duration = Duration::from_millis(300);

/// Where to begin.
#[derive(Debug, Clone, Copy)]
pub enum LogStart {
    /// Behind what was told before.
    Behind(LogPosition),
    /// With the last so many lines, of those from a second on.
    Last(u32, Option<i64>),
}

/// What a follower learns.
#[derive(Debug)]
pub enum Followed {
    /// A line with its end, or a part of one as it was written.
    Piece(LogPiece),
    /// The log was begun anew since the position: lines before this may be missing, or be told twice.
    Gap,
    /// It is over: the container does not run.
    Stopped,
    /// It is over: the container is gone.
    Gone,
}

/// Some of a log.
#[derive(Debug)]
pub struct LogPiece {
    /// What is behind it.
    pub position: LogPosition,
    /// Which output.
    pub output: Output,
    /// UTF-8; what was not is replaced.
    pub text: String,
}

type Tell = mpsc::Sender<Result<Followed>>;
type Pieces = FramedRead<StreamReader<BoxStream<'static, io::Result<Bytes>>, Bytes>, Frames>;

impl Engine {
    /// Follows a log until the container ends. It goes on as fast as it is asked, and keeps nothing meanwhile.
    pub fn follow_log(&self, grant: ContainerGrant, start: LogStart) -> impl Stream<Item = Result<Followed>> + use<> {
        let engine = self.clone();
        let (tell, mut told) = mpsc::channel(1);
        let work = async move {
            if let Err(error) = engine.tell_log(&grant, start, &tell).await {
                let _ = tell.send(Err(error)).await;
            }
        };
        let told = stream::poll_fn(move |cx| told.poll_recv(cx));
        // Worked on whenever the stream is asked, by nobody else.
        stream::select(told, work.into_stream().filter_map(|()| std::future::ready(None)))
    }

    async fn tell_log(&self, grant: &ContainerGrant, start: LogStart, tell: &Tell) -> Result<()> {
        let outcome = async {
            let mut position = match start {
                LogStart::Behind(position) => position,
                LogStart::Last(lines, since) => self.locate(grant, lines, since).await?,
            };
            loop {
                let runs = self.status(grant, self.deadline()).await?.is_running();
                if let Err(error) = self.tell_from(grant, &mut position, runs, tell).await {
                    match self.broken(grant, error).await {
                        // What is there of it is told yet.
                        error if runs && error.kind == Kind::Conflict => continue,
                        error => return Err(error),
                    }
                }
                if !runs {
                    return send(tell, Followed::Stopped).await;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        match outcome.await {
            Err(error) if error.kind == Kind::NotFound => send(tell, Followed::Gone).await,
            outcome => outcome,
        }
    }

    /// The place behind which the last so many lines begin.
    async fn locate(&self, grant: &ContainerGrant, lines: u32, since: Option<i64>) -> Result<LogPosition> {
        let (deadline, lines) = (self.deadline(), lines as usize);
        let _lane = self.long.enter(grant.tenant(), deadline).await?;
        self.answering(grant, deadline).await?;
        let read = async {
            let begin = LogPosition::before(since.unwrap_or(0));
            let mut counted = Counted::new(begin.second);
            let mut starts = VecDeque::from([begin]);
            let mut in_line = false;
            let mut pieces = self.pieces(grant, begin.second, false).await?;
            while let Some(piece) = pieces.next().await {
                let piece = piece.map_err(frames::failed)?;
                let before = counted.position;
                let (_, text) = counted.count(&piece)?;
                if counted.position.second < begin.second {
                    continue;
                }
                if !in_line && before.nth > 0 && before.second >= begin.second {
                    starts.push_back(before);
                    if starts.len() > lines.max(1) {
                        starts.pop_front();
                    }
                }
                in_line = !text.ends_with(b"\n");
            }
            Ok(if lines == 0 && counted.position.nth > 0 { counted.position } else { starts[0] })
        };
        let outcome = deadline.bound(read).await;
        self.learn(grant.engine_id(), &outcome);
        outcome
    }

    /// Tells what is behind the position, and moves it along; until the end of what is there, or of the container.
    async fn tell_from(
        &self,
        grant: &ContainerGrant,
        position: &mut LogPosition,
        follow: bool,
        tell: &Tell,
    ) -> Result<()> {
        while !self.tell_some(grant, position, follow, tell).await? {
            *position = LogPosition::before(position.second);
            send(tell, Followed::Gap).await?;
        }
        Ok(())
    }

    /// The same, but false where the log has no such position any more.
    async fn tell_some(
        &self,
        grant: &ContainerGrant,
        position: &mut LogPosition,
        follow: bool,
        tell: &Tell,
    ) -> Result<bool> {
        let mut counted = Counted::new(position.second);
        let mut rest = Rest::default();
        let mut seeking = position.nth > 0;
        let mut pieces = self.pieces(grant, position.second, follow).await?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(frames::failed)?;
            let (output, bytes) = counted.count(&piece)?;
            let text = rest.text(output, bytes);
            let found = counted.position;
            if seeking {
                if found == *position {
                    seeking = false;
                } else if found.second > position.second
                    || (found.second == position.second && found.nth >= position.nth)
                {
                    return Ok(false);
                }
            } else if found.second >= position.second || position.nth > 0 {
                *position = found;
                send(tell, Followed::Piece(LogPiece { position: found, output, text })).await?;
            }
        }
        // Where it runs on, what is missing may come yet.
        Ok(!seeking || follow)
    }

    /// The log from a second on, each piece with its time before it.
    async fn pieces(&self, grant: &ContainerGrant, second: i64, follow: bool) -> Result<Pieces> {
        // To Podman, what was written in the very first nanosecond of a second is not of that second.
        let since = second.saturating_sub(1).max(0);
        let id = grant.engine_id();
        let path = format!(
            "/v4.0.0/libpod/containers/{id}/logs?stdout=true&stderr=true&timestamps=true&since={since}&follow={follow}"
        );
        let chunks = self.wire.stream(&path).await?.map(|chunk| chunk.map_err(io::Error::other));
        Ok(FramedRead::new(StreamReader::new(chunks.boxed()), Frames::whole()))
    }
}

/// Fails only where nobody asks any more, and then to no one.
async fn send(tell: &Tell, followed: Followed) -> Result<()> {
    tell.send(Ok(followed)).await.map_err(Error::internal)
}

/// Counts the pieces of each second.
struct Counted {
    position: LogPosition,
    /// The time of the last piece, as it was written.
    time: Vec<u8>,
    second: i64,
}

impl Counted {
    fn new(second: i64) -> Self {
        Self { position: LogPosition::before(second), time: Vec::new(), second }
    }

    /// The piece without its time. The position is behind it.
    fn count<'a>(&mut self, (output, bytes): &'a Piece) -> Result<(Output, &'a [u8])> {
        let end = bytes.iter().position(|byte| *byte == b' ');
        let end = end.ok_or_else(|| failure::unreadable("a line without a time"))?;
        let (time, line) = (&bytes[..end], &bytes[end + 1..]);
        if time != self.time {
            let text = std::str::from_utf8(time).map_err(failure::unreadable)?;
            self.second = OffsetDateTime::parse(text, &Rfc3339).map_err(failure::unreadable)?.unix_timestamp();
            self.time = time.to_vec();
        }
        let nth = if self.second == self.position.second { self.position.nth + 1 } else { 1 };
        self.position = LogPosition { second: self.second, nth, digest: LogPosition::digest_of(line) };
        Ok((*output, line))
    }
}

/// Of both outputs.
#[derive(Default)]
struct Rest {
    stdout: Beginning,
    stderr: Beginning,
}

impl Rest {
    fn text(&mut self, output: Output, bytes: &[u8]) -> String {
        let kept = match output {
            Output::Stdout => &mut self.stdout,
            Output::Stderr => &mut self.stderr,
        };
        String::from_utf8_lossy(&kept.whole(bytes)).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_counted_by_their_seconds() {
        let mut counted = Counted::new(0);
        let mut count = |text: &str| {
            let piece = (Output::Stdout, Bytes::copy_from_slice(text.as_bytes()));
            let line = counted.count(&piece).unwrap().1.to_vec();
            (counted.position.second, counted.position.nth, line)
        };
        assert_eq!(count("1970-01-01T00:00:01Z a b\n"), (1, 1, b"a b\n".to_vec()));
        assert_eq!(count("1970-01-01T01:00:01+01:00 \n"), (1, 2, b"\n".to_vec()));
        assert_eq!(count("1970-01-01T00:00:02Z c"), (2, 1, b"c".to_vec()));
        assert!(counted.count(&(Output::Stdout, "nothing".into())).is_err());
    }

    #[test]
    fn characters_are_whole() {
        let mut rest = Rest::default();
        let euro = "€".as_bytes();
        assert_eq!(rest.text(Output::Stdout, &[b"a", &euro[..1]].concat()), "a");
        assert_eq!(rest.text(Output::Stderr, b"other\n"), "other\n");
        assert_eq!(rest.text(Output::Stdout, &euro[1..2]), "");
        assert_eq!(rest.text(Output::Stdout, &[&euro[2..], b"b\n"].concat()), "€b\n");
        assert_eq!(rest.text(Output::Stdout, b"\xff\n"), "\u{fffd}\n");
        for whole in ["🦀", "", "€", "é", "a"] {
            assert_eq!(rest.text(Output::Stdout, whole.as_bytes()), whole);
        }
        assert_eq!(rest.text(Output::Stdout, b"\x80\x80\x80"), "\u{fffd}\u{fffd}\u{fffd}");
    }
}
