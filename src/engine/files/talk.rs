//! The conversation with an agent, over the standard streams of its process.
//!
//! Whatever it says is hostile: the frames are bounded, and what makes no sense ends it.

use std::collections::VecDeque;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use podgate_agent::protocol::files::{Ask, FILES_VERSION, HEARD_EVERY, Tell};
use podgate_agent::protocol::{Decoder, Frame};

use super::meaning::refused;
use crate::domain::{Error, Kind, Result};
use crate::engine::failure;
use crate::engine::frames::Output;
use crate::engine::hijack::{Hijacked, Input, Outputs};

/// Bytes of complaints that are kept for the log.
const MOST_COMPLAINTS: usize = 2048;

/// What it may say while it is spoken to.
const MOST_UNHEARD: usize = 1024;

/// What is said and heard.
pub(super) struct Talk {
    input: Input,
    outputs: Outputs,
    heard: Heard,
    /// How long either side may take for its next bytes.
    patience: Duration,
    said: Vec<u8>,
}

/// What was said and not asked for yet.
#[derive(Default)]
struct Heard {
    decoder: Decoder<Tell>,
    tells: VecDeque<Tell>,
    complaints: Vec<u8>,
    /// Bytes that came and that the agent was not told of yet.
    untold: usize,
}

impl Talk {
    /// Begins one; the agent has to speak our language.
    pub(super) async fn begin(connection: Hijacked, patience: Duration) -> Result<Self> {
        let Hijacked { input, outputs } = connection;
        let mut talk = Self { input, outputs, heard: Heard::default(), patience, said: Vec::new() };
        match talk.hear().await? {
            Tell::Ready(FILES_VERSION) => Ok(talk),
            other => Err(nonsense(&other)),
        }
    }

    /// The next thing said. A refusal is an error.
    pub(super) async fn hear(&mut self) -> Result<Tell> {
        loop {
            match self.heard.tells.pop_front() {
                Some(Tell::Busy) => {}
                Some(Tell::Refused(refusal)) => return Err(refused(refusal)),
                Some(tell) => return Ok(tell),
                None => {
                    let said = tokio::time::timeout(self.patience, self.outputs.next()).await;
                    self.heard.take(said.map_err(|_| silent())??)?;
                    if self.heard.untold >= HEARD_EVERY {
                        self.heard.untold = 0;
                        self.say(&Ask::Heard).await?;
                    }
                }
            }
        }
    }

    /// Asks, and does not wait for an answer; what is said meanwhile is kept.
    pub(super) async fn say(&mut self, ask: &Ask) -> Result<()> {
        self.said.clear();
        ask.encode(&mut self.said);
        let mut write = pin!(tokio::time::timeout(self.patience, self.input.write(&self.said)));
        loop {
            tokio::select! {
                written = &mut write => return written.map_err(|_| silent())?.map_err(failure::unreachable),
                // It has something to say, a refusal most likely; the rest of the frame is still its due.
                said = self.outputs.next() => self.heard.take(said?)?,
            }
            if self.heard.tells.len() > MOST_UNHEARD {
                return Err(failure::unreadable("an agent that says more than it was asked"));
            }
        }
    }

    /// Whether it has said something that ends what is going on.
    pub(super) fn is_answered(&self) -> bool {
        self.heard.tells.iter().any(|tell| !matches!(tell, Tell::Busy))
    }
}

impl Heard {
    fn take(&mut self, said: Option<(Output, Bytes)>) -> Result<()> {
        match said {
            None => {
                Err(failure::unreachable(format!("the agent ended: {}", String::from_utf8_lossy(&self.complaints))))
            }
            Some((Output::Stderr, bytes)) => {
                let room = MOST_COMPLAINTS.saturating_sub(self.complaints.len());
                self.complaints.extend_from_slice(&bytes[..bytes.len().min(room)]);
                Ok(())
            }
            Some((Output::Stdout, bytes)) => {
                self.untold += bytes.len();
                self.decoder.push(&bytes);
                while let Some(tell) = self.decoder.next().map_err(failure::unreadable)? {
                    self.tells.push_back(tell);
                }
                Ok(())
            }
        }
    }
}

/// An answer to something else.
pub(super) fn nonsense(tell: &Tell) -> Error {
    let mut said = format!("{tell:?}");
    said.truncate(said.floor_char_boundary(200));
    failure::unreadable(format!("an agent that says {said}"))
}

fn silent() -> Error {
    Error::new(Kind::EngineTimeout, "the container's files did not answer in time")
}
