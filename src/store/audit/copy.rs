//! The log once more as lines of JSON: to a file, to standard output, or to both.
//!
//! It goes on where it ended before, so that no line is missing; after a crash a few may be there twice. The file may be
//! moved away at any time; then it is made anew.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::chain::Chain;
use super::record::Row;
use super::sink::Sink;
use crate::domain::{Error, Result};

/// Most rows that are read at once to catch up.
const BITE: i64 = 500;
/// How long file and standard output may take for one bite.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before a copy that fails is tried again, and between two bites.
const RETRY: Duration = Duration::from_secs(1);
const BITE_PAUSE: Duration = Duration::from_millis(20);

/// A copy, and how far it has come.
pub(super) struct Copy {
    sink: Place,
    position: i64,
    is_behind: bool,
    works: bool,
}

enum Place {
    Nowhere,
    Here(Sink),
    /// A write that takes long has it, up to this row.
    Away(JoinHandle<(Sink, io::Result<()>)>, i64),
}

impl Copy {
    pub(super) fn nowhere() -> Self {
        Self { sink: Place::Nowhere, position: 0, is_behind: false, works: true }
    }

    /// To file and standard output, from where it ended before. Fails if the file cannot be opened.
    pub(super) async fn begin(chain: &Chain, path: Option<PathBuf>, to_stdout: bool) -> Result<Self> {
        if path.is_none() && !to_stdout {
            return Ok(Self::nowhere());
        }
        let name = path.clone().unwrap_or_default();
        let mut sink = Sink::new(path, to_stdout);
        sink.write("").map_err(|error| Error::invalid(format!("audit.file {}: {error}", name.display())))?;
        Ok(Self { sink: Place::Here(sink), position: chain.copied().await?, is_behind: true, works: true })
    }

    /// The number of the last row that was copied; 0 if nothing is.
    pub(super) fn position(&self) -> i64 {
        self.position
    }

    /// Whether the last attempt went well.
    pub(super) fn works(&self) -> bool {
        self.works
    }

    /// When it wants to go on by itself.
    pub(super) fn pause(&self) -> Option<Duration> {
        match (self.works, self.is_behind) {
            (false, _) => Some(RETRY),
            (true, true) => Some(BITE_PAUSE),
            (true, false) => None,
        }
    }

    /// Copies the rows that were just written, or the next ones where it is behind. Whether that went well.
    pub(super) async fn advance(&mut self, chain: &Chain, just_written: &[Row]) -> bool {
        let copied = match &self.sink {
            Place::Nowhere => return true,
            Place::Here(_) => Ok(()),
            Place::Away(..) => self.come_back().await,
        };
        let copied = match copied {
            Ok(()) => self.copy_next(chain, just_written).await,
            failed => failed,
        };
        match (&copied, self.works) {
            (Err(error), true) => {
                tracing::error!(%error, "the audit log is not copied; nothing is changed until it is");
            }
            (Ok(()), false) => tracing::info!("the audit log is copied again"),
            _ => {}
        }
        self.works = copied.is_ok();
        self.works
    }

    async fn copy_next(&mut self, chain: &Chain, just_written: &[Row]) -> io::Result<()> {
        let follows = just_written.first().is_some_and(|row| row.sequence == self.position + 1);
        let read =
            if follows { Vec::new() } else { chain.after(self.position, BITE).await.map_err(io::Error::other)? };
        let rows = if follows { just_written } else { &read };
        let is_more = !follows && i64::try_from(rows.len()) == Ok(BITE);
        let upto = rows.last().map_or(self.position, |row| row.sequence);
        let text: String = rows.iter().map(|row| row.line() + "\n").collect();
        if let Place::Here(mut sink) = std::mem::replace(&mut self.sink, Place::Nowhere) {
            // Standard output blocks for as long as its reader likes.
            let writing = tokio::task::spawn_blocking(move || {
                let written = sink.write(&text);
                (sink, written)
            });
            self.sink = Place::Away(writing, upto);
        }
        self.come_back().await?;
        self.is_behind = is_more;
        Ok(())
    }

    /// Waits for the write that runs.
    async fn come_back(&mut self) -> io::Result<()> {
        let Place::Away(writing, upto) = &mut self.sink else { return Ok(()) };
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it takes too long");
        let (sink, written) = tokio::time::timeout(PATIENCE, writing).await.map_err(late)?.map_err(io::Error::other)?;
        if written.is_ok() {
            self.position = *upto;
        }
        self.sink = Place::Here(sink);
        written
    }
}
