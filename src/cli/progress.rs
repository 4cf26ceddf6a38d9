//! How far something long is, on standard error, where that is a terminal.

use std::io::{IsTerminal, Read, Result, Write};

const MIB: u64 = 1024 * 1024;
/// Bytes between two words about them.
const STEP: u64 = 8 * MIB;

/// Passes bytes on and tells how many they are.
pub(super) struct Progress<T> {
    inner: T,
    what: &'static str,
    bytes: u64,
    is_seen: bool,
}

impl<T> Progress<T> {
    /// `what` is said before the number: `written`.
    pub(super) fn of(inner: T, what: &'static str) -> Self {
        Self { inner, what, bytes: 0, is_seen: std::io::stderr().is_terminal() }
    }

    /// What it wraps, and no more words.
    pub(super) fn end(self) -> T {
        if self.is_seen && self.bytes >= STEP {
            eprint!("\r\x1b[K");
        }
        self.inner
    }

    fn add(&mut self, count: usize) {
        let before = self.bytes / STEP;
        self.bytes += count as u64;
        if self.is_seen && self.bytes / STEP > before {
            eprint!("\r{} {} MiB", self.what, self.bytes / MIB);
        }
    }
}

impl<T: Write> Write for Progress<T> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let count = self.inner.write(bytes)?;
        self.add(count);
        Ok(count)
    }

    fn flush(&mut self) -> Result<()> {
        self.inner.flush()
    }
}

impl<T: Read> Read for Progress<T> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let count = self.inner.read(buffer)?;
        self.add(count);
        Ok(count)
    }
}
