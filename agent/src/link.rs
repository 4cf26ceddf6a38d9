//! The way to the gateway: orders on standard input, reports on standard output.

use std::io;
use std::time::Instant;

use podgate_agent::protocol::{ANSWER, Decoder, Frame, Malformed, Order, Report, SILENCE, UNHEARD};
use rustix::fd::BorrowedFd;
use rustix::io::Errno;
use rustix::stdio::{stdin, stdout};

/// While so many bytes wait to be read by the gateway, nothing more is taken from the command.
const ROOM: usize = 64 * 1024;

/// Both directions. Neither ever blocks.
pub struct Link {
    orders: Decoder<Order>,
    waiting: Vec<u8>,
    sent: usize,
    gone: bool,
    unheard: Option<Unheard>,
}

/// What was said since anything was heard.
struct Unheard {
    since: Instant,
    bytes: usize,
}

impl Link {
    pub fn new() -> io::Result<Self> {
        rustix::io::ioctl_fionbio(stdin(), true)?;
        rustix::io::ioctl_fionbio(stdout(), true)?;
        Ok(Self { orders: Decoder::default(), waiting: Vec::new(), sent: 0, gone: false, unheard: None })
    }

    /// Whether nobody is there any more.
    pub fn is_gone(&self) -> bool {
        self.gone || self.unheard.as_ref().is_some_and(Unheard::is_too_much)
    }

    /// When somebody must have been heard.
    pub fn alarm(&self) -> Option<Instant> {
        self.unheard.as_ref().map(|unheard| unheard.since + SILENCE)
    }

    /// Nobody who makes sense is there any more.
    pub fn give_up(&mut self) {
        self.gone = true;
    }

    /// Takes in what is there.
    pub fn receive(&mut self) {
        let mut bytes = [0; 16 * 1024];
        match rustix::io::read(stdin(), &mut bytes) {
            Ok(0) => self.gone = true,
            Ok(read) => {
                self.unheard = None;
                self.orders.push(&bytes[..read]);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.gone = true,
        }
    }

    /// The next order that is there whole.
    pub fn next(&mut self) -> Option<Order> {
        match self.orders.next() {
            Ok(order) => order,
            Err(Malformed) => {
                self.gone = true;
                None
            }
        }
    }

    /// Sends a report, now or later.
    pub fn report(&mut self, report: &Report) {
        report.encode(&mut self.waiting);
        self.send();
    }

    /// Whether reports wait to be sent.
    pub fn has_waiting(&self) -> bool {
        self.sent < self.waiting.len()
    }

    /// Whether the command may say more.
    pub fn has_room(&self) -> bool {
        self.waiting.len() - self.sent < ROOM
    }

    /// Sends what can be sent now.
    pub fn send(&mut self) {
        while self.has_waiting() && !self.gone {
            match rustix::io::write(stdout(), &self.waiting[self.sent..]) {
                Ok(written) => {
                    self.sent += written;
                    let unheard = self.unheard.get_or_insert_with(|| Unheard { since: Instant::now(), bytes: 0 });
                    unheard.bytes = unheard.bytes.saturating_add(written);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => self.gone = true,
            }
        }
        if self.has_waiting() {
            // Now and then: each time would move everything behind it.
            if self.sent >= ROOM {
                self.waiting.drain(..self.sent);
                self.sent = 0;
            }
        } else {
            self.waiting.clear();
            self.sent = 0;
        }
    }

    /// Where orders come from and reports go.
    pub fn ends() -> (BorrowedFd<'static>, BorrowedFd<'static>) {
        (stdin(), stdout())
    }
}

impl Unheard {
    fn is_too_much(&self) -> bool {
        let silence = self.since.elapsed();
        silence >= SILENCE || (silence >= ANSWER && self.bytes > UNHEARD)
    }
}
