//! Text that comes in pieces.

/// How many of the last bytes begin a character and do not end it.
fn unfinished(bytes: &[u8]) -> usize {
    let wanted = |byte: u8| match byte {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => 1,
    };
    let is_within = |byte: u8| (0x80..=0xbf).contains(&byte);
    (1..=bytes.len().min(3))
        .find(|back| !is_within(bytes[bytes.len() - back]))
        .filter(|back| wanted(bytes[bytes.len() - back]) > *back)
        .unwrap_or(0)
}

/// The beginning of a character whose end is in the next piece.
#[derive(Debug, Default)]
pub struct Beginning(Vec<u8>);

impl Beginning {
    /// A piece with what was kept of a character, and without what it begins at its end: text stays text however it is cut.
    pub fn whole(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut all = self.rest();
        all.extend_from_slice(piece);
        self.0 = all.split_off(all.len() - unfinished(&all));
        all
    }

    /// What is left when nothing follows.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_beginning_is_unfinished() {
        for whole in ["", "a", "é", "€", "🦀"] {
            assert_eq!(unfinished(whole.as_bytes()), 0, "{whole}");
        }
        for (bytes, expected) in [
            (&b"a\xe2"[..], 1),
            (b"a\xe2\x82", 2),
            (b"\xf0\x9f\xa6", 3),
            (b"\xff", 0),
            (b"\x80\x80\x80\x80", 0),
            (b"\xe2\x82\xac\x80", 0),
        ] {
            assert_eq!(unfinished(bytes), expected, "{bytes:?}");
        }
    }
}
