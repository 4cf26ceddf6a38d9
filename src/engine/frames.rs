//! Podman's way to put a container's two outputs into one stream: eight bytes before each piece, which say whose it is
//! and how long.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio_util::codec::Decoder;

use super::failure;
use crate::domain::Error;

/// Which output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A piece of one output.
pub(super) type Piece = (Output, Bytes);

/// Takes the stream apart.
pub(super) struct Frames {
    /// Whether frames are given whole: lines of a log are. Else in pieces, as they come.
    whole: bool,
    frame: Option<(Output, usize)>,
}

const HEAD: usize = 8;

/// Longest frame that is given whole, in bytes. Podman's log has no line longer than its buffer, which is much less.
const MOST_WHOLE: usize = 1024 * 1024;

impl Frames {
    /// Frames as they were written.
    pub(super) fn whole() -> Self {
        Self { whole: true, frame: None }
    }

    /// Frames in pieces, so that none waits for the rest.
    pub(super) fn in_pieces() -> Self {
        Self { whole: false, frame: None }
    }

    /// The next frame's head, if it is there.
    fn head(&mut self, buffer: &mut BytesMut) -> io::Result<Option<(Output, usize)>> {
        if self.frame.is_none() && buffer.len() >= HEAD {
            let output = match buffer.get_u8() {
                // Zero is input that is shown, of a terminal.
                0 | 1 => Output::Stdout,
                2 => Output::Stderr,
                other => return Err(nonsense(format!("a frame of output {other}"))),
            };
            buffer.advance(3);
            let length = buffer.get_u32() as usize;
            if self.whole && length > MOST_WHOLE {
                return Err(nonsense(format!("a frame of {length} bytes")));
            }
            self.frame = Some((output, length));
        }
        Ok(self.frame)
    }
}

impl Decoder for Frames {
    type Item = Piece;
    type Error = io::Error;

    fn decode(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Piece>> {
        while let Some((output, left)) = self.head(buffer)? {
            if left == 0 {
                self.frame = None;
            } else if self.whole && buffer.len() < left {
                buffer.reserve(left - buffer.len());
                return Ok(None);
            } else if buffer.is_empty() {
                return Ok(None);
            } else {
                let piece = buffer.split_to(left.min(buffer.len())).freeze();
                self.frame = Some((output, left - piece.len())).filter(|(_, left)| *left > 0);
                return Ok(Some((output, piece)));
            }
        }
        Ok(None)
    }

    /// What is cut off in the middle ends where it was cut.
    fn decode_eof(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Piece>> {
        let decoded = self.decode(buffer)?;
        if decoded.is_none() {
            buffer.clear();
        }
        Ok(decoded)
    }
}

fn nonsense(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Why no frame came.
pub(super) fn failed(error: io::Error) -> Error {
    if error.kind() == io::ErrorKind::InvalidData { failure::unreadable(error) } else { failure::unreachable(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(mut frames: Frames, pieces: &[&[u8]]) -> Vec<(Output, Vec<u8>)> {
        let mut buffer = BytesMut::new();
        let mut found = Vec::new();
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while let Some((output, bytes)) = frames.decode(&mut buffer).unwrap() {
                found.push((output, bytes.to_vec()));
            }
        }
        assert!(frames.decode_eof(&mut buffer).unwrap().is_none());
        found
    }

    #[test]
    fn frames_come_whole_or_in_pieces() {
        let sent: &[&[u8]] =
            &[b"\x01\0\0\0\0\0", b"\0\x03ab", b"c\x02\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\x01d", b"\x01\0\0"];
        let whole = [(Output::Stdout, b"abc".to_vec()), (Output::Stderr, b"d".to_vec())];
        assert_eq!(decoded(Frames::whole(), sent), whole);
        let pieces =
            [(Output::Stdout, b"ab".to_vec()), (Output::Stdout, b"c".to_vec()), (Output::Stderr, b"d".to_vec())];
        assert_eq!(decoded(Frames::in_pieces(), sent), pieces);
    }

    #[test]
    fn nonsense_is_an_error_and_takes_no_memory() {
        let decode = |bytes: &[u8]| Frames::whole().decode(&mut BytesMut::from(bytes));
        assert!(decode(b"HTTP/1.1").is_err());
        assert!(decode(b"\x01\0\0\0\xff\xff\xff\xff").is_err());
    }
}
