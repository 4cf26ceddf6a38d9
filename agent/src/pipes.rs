//! What the command reads and writes: pipes, a terminal, or a connection to a port.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;

use podgate_agent::protocol::{CHUNK, Stream, WINDOW};
use rustix::io::Errno;

/// Where its input goes.
pub struct Input {
    fd: Option<OwnedFd>,
    kind: Kind,
    waiting: VecDeque<u8>,
    ended: bool,
}

/// What is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Closing it is the end.
    Pipe,
    /// A character is the end; closing it would hang up.
    Terminal,
    /// Half of it is closed.
    Socket,
}

/// Where its output comes from.
pub struct Output {
    pub fd: OwnedFd,
    pub stream: Stream,
}

/// What reading gave.
pub enum Said {
    Bytes(usize),
    NothingNow,
    Ended,
}

impl Input {
    pub fn new(fd: OwnedFd, kind: Kind) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd: Some(fd), kind, waiting: VecDeque::new(), ended: false })
    }

    /// Takes bytes to be passed on. False if there are more than were asked for.
    pub fn push(&mut self, bytes: &[u8]) -> bool {
        self.waiting.extend(bytes);
        self.waiting.len() <= WINDOW && !self.ended
    }

    /// No more will come.
    pub fn end(&mut self) {
        if !self.ended && self.kind == Kind::Terminal {
            self.waiting.push_back(END_OF_FILE);
        }
        self.ended = true;
    }

    /// What to wait for, if anything can be passed on.
    pub fn wants(&self) -> Option<&OwnedFd> {
        self.fd.as_ref().filter(|_| !self.waiting.is_empty())
    }

    /// Passes on what can be; how many bytes that was. What nobody will read any more counts as passed on.
    pub fn pass(&mut self) -> usize {
        let mut passed = 0;
        while let (Some(fd), (first, _)) = (&self.fd, self.waiting.as_slices())
            && !first.is_empty()
        {
            match rustix::io::write(fd, first) {
                Ok(written) => {
                    self.waiting.drain(..written);
                    passed += written;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return passed,
                Err(_) => self.fd = None,
            }
        }
        if self.fd.is_none() {
            passed += self.waiting.len();
            self.waiting.clear();
        }
        if self.ended {
            self.close();
        }
        passed
    }

    /// Everything was passed on, and no more will come.
    fn close(&mut self) {
        match (self.kind, &self.fd) {
            (Kind::Terminal, _) | (_, None) => {}
            (Kind::Pipe, Some(_)) => self.fd = None,
            (Kind::Socket, Some(fd)) => {
                let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
                self.fd = None;
            }
        }
    }
}

/// Ctrl-D, as terminals have it unless told otherwise.
const END_OF_FILE: u8 = 4;

impl Output {
    pub fn new(fd: OwnedFd, stream: Stream) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&fd, true)?;
        Ok(Self { fd, stream })
    }

    /// Reads what is there. A terminal that nobody has open any more says EIO.
    pub fn read(&self, into: &mut [u8; CHUNK]) -> Said {
        match rustix::io::read(&self.fd, into) {
            Ok(0) => Said::Ended,
            Ok(read) => Said::Bytes(read),
            Err(Errno::AGAIN | Errno::INTR) => Said::NothingNow,
            Err(_) => Said::Ended,
        }
    }
}
