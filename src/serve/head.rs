//! Sees what hyper hides: a request head whose framing is ambiguous.
//!
//! hyper parses `Content-Length` next to `Transfer-Encoding` as the latter alone and closes afterwards, and takes one of
//! several equal `Content-Length`s; it removes the traces from the headers that a handler gets. Both are allowed by
//! RFC 9112 (6.1, 6.3) but are what request smuggling is made of, so this gateway refuses them; and so are lines that end
//! in a line feed alone (2.2), which a proxy in front may take for part of the line. To see them it reads the names at the
//! beginnings of lines, and their ends, in the bytes that pass.
//!
//! It reads a head only where it sees the beginning: for a request that was pipelined behind another, or that follows a
//! body which nobody read to its end, it gives no verdict, and hyper's safe reading stands.

const LENGTH: &[u8] = b"content-length:";
const ENCODING: &[u8] = b"transfer-encoding:";
/// As much of a line as is needed to tell.
const NAME: usize = ENCODING.len();

/// The state of reading one HTTP/1 request head, in pieces of any size.
#[derive(Debug, Default)]
pub(super) struct Head {
    name: [u8; NAME],
    filled: usize,
    last: u8,
    begun: bool,
    ended: bool,
    bare: bool,
    lengths: u32,
    encodings: u32,
}

impl Head {
    /// One whose beginning is not seen.
    pub fn unseen() -> Self {
        Self { ended: true, ..Self::default() }
    }

    /// Reads on. Bytes after the empty line that ends the head are not looked at.
    pub fn read(&mut self, mut bytes: &[u8]) {
        while !self.ended && !bytes.is_empty() {
            match bytes.iter().position(|byte| *byte == b'\n') {
                Some(end) => {
                    self.fill(&bytes[..end]);
                    self.end_line();
                    bytes = &bytes[end + 1..];
                }
                None => {
                    self.fill(bytes);
                    return;
                }
            }
        }
    }

    /// Whether anything but the empty lines was read that some clients send between two requests (RFC 9112, 2.2).
    pub fn begun(&self) -> bool {
        self.begun
    }

    /// Whether a whole head was seen, and where it or its body ends is said in a way that others may read differently.
    pub fn is_ambiguous(&self) -> bool {
        self.ended && (self.bare || self.lengths > 1 || (self.lengths > 0 && self.encodings > 0))
    }

    fn fill(&mut self, part: &[u8]) {
        let free = &mut self.name[self.filled..];
        let taken = part.len().min(free.len());
        free[..taken].copy_from_slice(&part[..taken]);
        self.filled += taken;
        self.last = part.last().copied().unwrap_or(self.last);
        self.begun |= !matches!(&self.name[..self.filled], b"" | b"\r");
    }

    fn end_line(&mut self) {
        self.bare |= self.begun && self.last != b'\r';
        let line = &self.name[..self.filled];
        if matches!(line, b"" | b"\r") {
            self.ended = self.begun;
        } else {
            self.lengths += u32::from(starts_with(line, LENGTH));
            self.encodings += u32::from(starts_with(line, ENCODING));
        }
        (self.filled, self.last) = (0, 0);
    }
}

fn starts_with(line: &[u8], name: &[u8]) -> bool {
    line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&str]) -> Head {
        let mut head = Head::default();
        for piece in pieces {
            head.read(piece.as_bytes());
        }
        head
    }

    fn ambiguous(lines: &str) -> bool {
        let text = format!("\r\nPOST / HTTP/1.1\r\n{lines}\r\n");
        let whole = read(&[&text]);
        let split: Vec<_> = text.split_inclusive(|_| true).collect();
        assert!(whole.ended && whole.is_ambiguous() == read(&split).is_ambiguous(), "{text:?}");
        whole.is_ambiguous()
    }

    #[test]
    fn says_when_the_end_of_the_body_is_given_twice() {
        assert!(ambiguous("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n"));
        assert!(ambiguous("transfer-encoding:chunked\nA: b\nCONTENT-LENGTH: 5\r\n"));
        assert!(ambiguous("Content-Length: 5\r\nContent-Length: 5\r\n"));
    }

    #[test]
    fn says_when_a_line_ends_in_a_line_feed_alone() {
        assert!(ambiguous("Host: x\n"));
        assert!(ambiguous("Host: x\r\nX: a much longer line than any name that is looked for\nY: z\r\n"));
        assert!(read(&["GET / HTTP/1.1\r\nHost: x\r\n\n"]).is_ambiguous());
        assert!(!read(&["\n\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"]).is_ambiguous(), "before the head");
    }

    #[test]
    fn says_nothing_of_other_heads() {
        assert!(!ambiguous("Host: x\r\n"));
        assert!(!ambiguous("Content-Length: 5\r\nX-Content-Length: 5\r\nContent-Length-Not: 1\r\n"));
        assert!(!ambiguous("Transfer-Encoding: chunked\r\nX: Content-Length: 5\r\n"));
    }

    #[test]
    fn ends_with_the_head() {
        let head = read(&["POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\n", "\r\nContent-Length: 5\r\n"]);
        assert!(!head.is_ambiguous());
        assert!(!read(&["GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n"]).is_ambiguous());
    }

    #[test]
    fn has_not_begun_with_empty_lines() {
        assert!(!read(&["\r", "\n\r\n\n"]).begun());
        assert!(read(&["\r\nG"]).begun());
    }
}
