//! Both ends of the conversation.

use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};

use podgate_agent::protocol::files::{Ask, FILES_CHUNK, MOST_UNHEARD, Reason, Refusal, Tell};
use podgate_agent::protocol::{Decoder, Frame, SILENCE};

/// How long the gateway may say nothing where it has the next word, and all that it says comes from a client; it has
/// deadlines of its own.
const OF_A_CLIENT: Timespec = Timespec { tv_sec: 4000, tv_nsec: 0 };

/// The same where it waits for nobody.
const OF_ITS_OWN: Timespec = Timespec { tv_sec: SILENCE.as_secs().cast_signed(), tv_nsec: 0 };

/// The same where it has much to hear, and tells that it does.
const ANSWER: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// How often something that takes long says that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It cannot be.
    Refused(Refusal),
    /// It is not wanted any more.
    Forgotten,
    /// Nobody is there any more, or somebody who makes no sense.
    Gone,
}

pub(super) type Outcome<T> = Result<T, Trouble>;

pub(super) struct Talk {
    heard: Decoder<Ask>,
    buffer: Vec<u8>,
    said: Vec<u8>,
    last: Instant,
    /// Bytes that were said since anything was heard.
    unheard: usize,
}

impl Default for Talk {
    fn default() -> Self {
        let (heard, buffer) = (Decoder::default(), vec![0; FILES_CHUNK]);
        Self { heard, buffer, said: Vec::new(), last: Instant::now(), unheard: 0 }
    }
}

impl Talk {
    /// What is asked next.
    pub(super) fn next(&mut self) -> Outcome<Ask> {
        self.await_ask(OF_ITS_OWN)
    }

    /// The next piece of what was begun.
    pub(super) fn more(&mut self) -> Outcome<Ask> {
        self.await_ask(OF_A_CLIENT)
    }

    fn await_ask(&mut self, patience: Timespec) -> Outcome<Ask> {
        loop {
            if let Some(ask) = self.asked()? {
                return Ok(ask);
            }
            if !self.hear(patience)? {
                return Err(Trouble::Gone);
            }
        }
    }

    /// What was asked and not looked at yet.
    fn asked(&mut self) -> Outcome<Option<Ask>> {
        loop {
            match self.heard.next().map_err(|_| Trouble::Gone)? {
                Some(Ask::Heard) => {}
                ask => return Ok(ask),
            }
        }
    }

    pub(super) fn tell(&mut self, tell: &Tell) -> Outcome<()> {
        self.said.clear();
        tell.encode(&mut self.said);
        let mut rest = &self.said[..];
        while !rest.is_empty() {
            match rustix::io::write(stdout(), rest) {
                Ok(0) => return Err(Trouble::Gone),
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(_) => return Err(Trouble::Gone),
            }
        }
        self.last = Instant::now();
        self.unheard += self.said.len();
        // Whoever takes so much and says nothing is nobody.
        if self.unheard >= MOST_UNHEARD && !self.hear(ANSWER)? {
            return Err(Trouble::Gone);
        }
        Ok(())
    }

    /// Between two pieces of an answer: whether it is wanted still.
    pub(super) fn still(&mut self) -> Outcome<()> {
        // It may have come together with the question.
        loop {
            if let Some(ask) = self.asked()? {
                return Err(if ask == Ask::Forget { Trouble::Forgotten } else { Trouble::Gone });
            }
            if !self.hear(NOW)? {
                break;
            }
        }
        self.alive()
    }

    /// Says now and then that it goes on.
    pub(super) fn alive(&mut self) -> Outcome<()> {
        if self.last.elapsed() >= SIGN_OF_LIFE { self.tell(&Tell::Busy) } else { Ok(()) }
    }

    /// Takes what there is to hear; whether there was anything in that time. The end is `Gone`.
    fn hear(&mut self, patience: Timespec) -> Outcome<bool> {
        let stdin = stdin();
        let mut waiting = [PollFd::new(&stdin, PollFlags::IN)];
        match poll(&mut waiting, Some(&patience)) {
            Ok(0) => return Ok(false),
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(true),
            Err(_) => return Err(Trouble::Gone),
        }
        match rustix::io::read(stdin, &mut self.buffer[..]) {
            Ok(0) => Err(Trouble::Gone),
            Ok(count) => {
                self.unheard = 0;
                self.heard.push(&self.buffer[..count]);
                Ok(true)
            }
            Err(Errno::INTR | Errno::AGAIN) => Ok(true),
            Err(_) => Err(Trouble::Gone),
        }
    }
}

impl Trouble {
    pub(super) fn of(reason: Reason) -> Self {
        Self::Refused(Refusal { reason, errno: 0 })
    }
}

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        let reason = match errno {
            Errno::NOENT => Reason::Absent,
            Errno::NOTDIR => Reason::NoDirectory,
            Errno::ISDIR => Reason::Directory,
            Errno::EXIST => Reason::Exists,
            Errno::NOTEMPTY => Reason::NotEmpty,
            Errno::ROFS => Reason::ReadOnly,
            Errno::BUSY | Errno::TXTBSY | Errno::AGAIN => Reason::Mounted,
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Reason::Full,
            Errno::ACCESS | Errno::PERM => Reason::Denied,
            Errno::LOOP => Reason::Circle,
            Errno::XDEV => Reason::Outside,
            Errno::NAMETOOLONG => Reason::TooLong,
            _ => Reason::Failed,
        };
        Self::Refused(Refusal { reason, errno: u32::try_from(errno.raw_os_error()).unwrap_or_default() })
    }
}
