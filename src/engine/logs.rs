//! What a container wrote to its standard output and error.

use std::io;

use futures_util::StreamExt;
use tokio_util::codec::FramedRead;
use tokio_util::io::StreamReader;

use super::frames::{self, Frames};
use super::{Deadline, Engine, Lane, failure};
use crate::domain::Result;
use crate::policy::grant::ContainerGrant;

/// Which lines.
#[derive(Debug, Clone)]
pub struct LogRequest {
    /// The last so many, at most 10,000 (SECURITY rule 3: a large number kills the Podman service).
    pub tail: u32,
    /// Only from then on, seconds since 1970.
    pub since: Option<i64>,
    /// Each line begins with its time.
    pub timestamps: bool,
}

/// The lines, in the order they came.
#[derive(Debug, Clone)]
pub struct Logs {
    /// UTF-8; what was not is replaced.
    pub text: String,
    /// Older lines that were asked for are missing, to keep within the bound.
    pub truncated: bool,
}

impl Engine {
    /// Reads the log, both streams together, keeping the newest bytes of the bound. The lane is to be held as long as the
    /// text is in memory: it bounds how much one tenant has there.
    pub async fn logs(&self, grant: &ContainerGrant, request: &LogRequest, deadline: Deadline) -> Result<(Logs, Lane)> {
        let lane = self.long.enter(grant.tenant(), deadline).await?;
        self.answering(grant, deadline).await?;
        // Without `tail`: Podman 4.3.1 loses parts of lines that were written in pieces where it is given. The file is
        // bounded, and the lines are counted here.
        let id = grant.engine_id();
        let LogRequest { timestamps, since, .. } = request;
        let since = since.map(|since| format!("&since={since}")).unwrap_or_default();
        let path = format!(
            "/v4.0.0/libpod/containers/{id}/logs?stdout=true&stderr=true&timestamps={timestamps}&follow=false{since}"
        );
        let read = async {
            let mut last = Last::new(request.tail as usize, self.logs_bytes);
            let chunks = self.wire.stream(&path).await?.map(|chunk| chunk.map_err(io::Error::other));
            let mut pieces = FramedRead::new(StreamReader::new(chunks.boxed()), Frames::whole());
            let mut in_line = false;
            while let Some(piece) = pieces.next().await {
                let (_, piece) = piece.map_err(frames::failed)?;
                last.take(if *timestamps && in_line { without_time(&piece)? } else { &piece });
                in_line = !piece.ends_with(b"\n");
            }
            Ok(last.finish())
        };
        let outcome = deadline.bound(read).await;
        self.learn(grant.engine_id(), &outcome);
        outcome.map(|logs| (logs, lane))
    }
}

/// A line that was written in pieces has a time before each of them (4.3.1 and 5.4.2).
fn without_time(piece: &[u8]) -> Result<&[u8]> {
    let end = piece.iter().position(|byte| *byte == b' ');
    end.map(|end| &piece[end + 1..]).ok_or_else(|| failure::unreadable("a line without a time"))
}

/// The last lines of a stream, within a bound of bytes.
struct Last {
    lines: usize,
    bytes: usize,
    kept: Vec<u8>,
    cut: bool,
}

impl Last {
    fn new(lines: usize, bytes: usize) -> Self {
        Self { lines, bytes, kept: Vec::new(), cut: false }
    }

    fn take(&mut self, chunk: &[u8]) {
        self.kept.extend_from_slice(chunk);
        // Now and then, not at every chunk: a drain moves everything behind it.
        if self.kept.len() > 2 * self.bytes {
            self.trim();
        }
    }

    /// Drops what is in front of the last lines, and of the last bytes up to the next line.
    fn trim(&mut self) {
        let ends_line = self.kept.last() == Some(&b'\n');
        let mut ends = self.kept.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        // The end of the last line, where it has one, begins no further line.
        let first = ends.nth(self.lines - usize::from(self.lines > 0 && !ends_line)).unwrap_or(0);
        let first = if self.lines == 0 { self.kept.len() } else { first };
        self.kept.drain(..first);
        if self.kept.len() > self.bytes {
            self.cut = true;
            self.kept.drain(..self.kept.len() - self.bytes);
            if let Some(end) = self.kept.iter().position(|byte| *byte == b'\n') {
                self.kept.drain(..=end);
            }
        }
    }

    fn finish(mut self) -> Logs {
        self.trim();
        Logs { text: String::from_utf8_lossy(&self.kept).into_owned(), truncated: self.cut }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(lines: usize, bytes: usize, chunks: &[&str]) -> (String, bool) {
        let mut last = Last::new(lines, bytes);
        chunks.iter().for_each(|chunk| last.take(chunk.as_bytes()));
        let Logs { text, truncated } = last.finish();
        (text, truncated)
    }

    #[test]
    fn the_last_lines_are_kept() {
        let chunks = ["one ", "line\nnext\n", "end"];
        assert_eq!(last(100, 1000, &chunks), ("one line\nnext\nend".into(), false));
        assert_eq!(last(2, 1000, &chunks), ("next\nend".into(), false));
        assert_eq!(last(1, 1000, &chunks), ("end".into(), false));
        assert_eq!(last(0, 1000, &chunks), (String::new(), false));
        assert_eq!(last(1, 1000, &["a\nb\n"]), ("b\n".into(), false));
        assert_eq!(last(5, 1000, &[""]), (String::new(), false));
    }

    #[test]
    fn the_newest_bytes_are_kept_from_a_line_on() {
        let (text, cut) = last(1000, 10, &["aaaa\nbbbb\ncccc\n"]);
        assert_eq!((text.as_str(), cut), ("cccc\n", true));
        let many = vec!["0123456789\n"; 1000];
        let (text, cut) = last(10_000, 100, &many);
        assert!(cut && text.len() <= 100 && text.starts_with("0123456789\n"), "{text}");
    }
}
