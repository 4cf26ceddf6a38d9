//! What a command said, kept once: both outputs, in the order they came.

use super::frames::Output;

/// Bytes that are kept together. What is kept grows by these and is never copied.
const PIECE: usize = 64 * 1024;

/// Both outputs. Costs little more than their bytes, and twice as much where they take turns at every byte.
#[derive(Debug, Clone)]
pub struct Said {
    /// All but the last of [`PIECE`] bytes.
    pieces: Vec<Vec<u8>>,
    length: usize,
    /// How many bytes came of one output before the other's, standard output first; seven bits a byte, the low ones first,
    /// the eighth where more follow.
    runs: Vec<u8>,
    /// The run that is not over.
    last: Output,
    last_length: usize,
}

/// How far it was read.
#[derive(Debug, Default, Clone)]
pub struct Reading {
    at: usize,
    /// Of the run that is read, how many bytes are left.
    left: usize,
    /// How many runs were begun, and where the next stands.
    begun: usize,
    next_run: usize,
}

impl Default for Said {
    fn default() -> Self {
        Self { pieces: Vec::new(), length: 0, runs: Vec::new(), last: Output::Stdout, last_length: 0 }
    }
}

impl Said {
    /// Adds some.
    pub fn push(&mut self, output: Output, mut bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if output != self.last {
            self.end_run();
            self.last = output;
        }
        self.last_length += bytes.len();
        self.length += bytes.len();
        while !bytes.is_empty() {
            match self.pieces.last_mut().filter(|piece| piece.len() < PIECE) {
                Some(piece) => {
                    let (now, later) = bytes.split_at(bytes.len().min(PIECE - piece.len()));
                    piece.extend_from_slice(now);
                    bytes = later;
                }
                None => self.pieces.push(Vec::new()),
            }
        }
    }

    fn end_run(&mut self) {
        let mut length = std::mem::take(&mut self.last_length);
        while length > 0x7f {
            self.runs.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        self.runs.push(length as u8);
    }

    /// Some of what comes next: of one output, or of both as they came. None at the end.
    pub fn next(&self, reading: &mut Reading, of: Option<Output>) -> Option<&[u8]> {
        let length = match of {
            None => self.length - reading.at,
            Some(output) => loop {
                if reading.left == 0 && !self.begin_run(reading) {
                    return None;
                }
                let of_run = if reading.begun % 2 == 1 { Output::Stdout } else { Output::Stderr };
                if of_run == output && reading.left > 0 {
                    break reading.left;
                }
                reading.at += std::mem::take(&mut reading.left);
            },
        };
        let piece = self.pieces.get(reading.at / PIECE)?;
        let begin = reading.at % PIECE;
        let bytes = &piece[begin..piece.len().min(begin.saturating_add(length))];
        reading.at += bytes.len();
        reading.left = reading.left.saturating_sub(bytes.len());
        Some(bytes).filter(|bytes| !bytes.is_empty())
    }

    /// Whether there is a run that was not begun.
    fn begin_run(&self, reading: &mut Reading) -> bool {
        let rest = self.runs.get(reading.next_run..).unwrap_or_default();
        if rest.is_empty() {
            // The last, which may not be over.
            let is_new = reading.next_run == self.runs.len();
            reading.next_run = self.runs.len() + 1;
            reading.begun += usize::from(is_new);
            reading.left = if is_new { self.last_length } else { 0 };
            return is_new;
        }
        let size = rest.iter().take_while(|byte| **byte > 0x7f).count() + 1;
        let digits = rest.iter().take(size).rev();
        reading.left = digits.fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
        reading.next_run += size;
        reading.begun += 1;
        true
    }

    /// All of one output, or of both.
    pub fn all(&self, of: Option<Output>) -> Vec<u8> {
        let (mut all, mut reading) = (Vec::new(), Reading::default());
        while let Some(bytes) = self.next(&mut reading, of) {
            all.extend_from_slice(bytes);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_said_is_there_in_every_order(
            said in proptest::collection::vec((any::<bool>(), 0_usize..70_000), 0..20),
        ) {
            let (mut kept, mut both, mut each) = (Said::default(), Vec::new(), [Vec::new(), Vec::new()]);
            for (index, (is_error, length)) in said.into_iter().enumerate() {
                let bytes = vec![index as u8; length];
                kept.push(if is_error { Output::Stderr } else { Output::Stdout }, &bytes);
                both.extend_from_slice(&bytes);
                each[usize::from(is_error)].extend_from_slice(&bytes);
            }
            prop_assert_eq!(kept.all(None), both);
            prop_assert_eq!(&kept.all(Some(Output::Stdout)), &each[0]);
            prop_assert_eq!(&kept.all(Some(Output::Stderr)), &each[1]);
        }
    }

    #[test]
    fn taking_turns_costs_a_byte_each() {
        let mut kept = Said::default();
        for _ in 0..1000 {
            kept.push(Output::Stdout, b"a");
            kept.push(Output::Stderr, b"b");
        }
        assert_eq!(kept.runs.len(), 1999);
        assert_eq!(kept.all(Some(Output::Stderr)), [b'b'; 1000]);
    }
}
