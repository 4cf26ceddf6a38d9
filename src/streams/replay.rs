//! The last of what was said to a peer that may lose its connection and come back.
//!
//! What the peer has not confirmed is kept, and whoever speaks is held up while that is [`WINDOW`]; what it has is kept
//! as far as there is room, for a peer that forgot what it heard.

use std::collections::VecDeque;

use bytes::{Buf, Bytes};

/// How many bytes may be on their way.
const WINDOW: u64 = 64 * 1024;
/// How many bytes are kept, and one piece at most beyond them.
const KEPT: u64 = 128 * 1024;
/// How many bytes a piece costs that is short: its place in the queue. Shorter ones are put together.
const LEAST: usize = 64;
/// How many pieces are kept, however short.
const PIECES: usize = KEPT as usize / LEAST;

/// Pieces of one or more channels, each with its place in all that was said.
#[derive(Debug)]
pub struct Replay<C> {
    pieces: VecDeque<(C, Bytes)>,
    start: u64,
    end: u64,
    confirmed: u64,
}

impl<C> Default for Replay<C> {
    fn default() -> Self {
        Self { pieces: VecDeque::new(), start: 0, end: 0, confirmed: 0 }
    }
}

impl<C: Copy + PartialEq> Replay<C> {
    /// Whether more may be said.
    pub fn has_room(&self) -> bool {
        self.end - self.confirmed < WINDOW && self.pieces.len() < PIECES
    }

    /// Adds a piece.
    pub fn push(&mut self, channel: C, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        self.end += bytes.len() as u64;
        match self.pieces.back_mut() {
            Some((last, said)) if *last == channel && said.len() + bytes.len() <= LEAST => {
                *said = [&said[..], &bytes[..]].concat().into();
            }
            _ => self.pieces.push_back((channel, bytes)),
        }
        self.trim();
    }

    /// The peer has all before this place.
    pub fn confirm(&mut self, place: u64) {
        self.confirmed = self.confirmed.max(place.min(self.end));
        self.trim();
    }

    /// The first place that is kept.
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Behind the last piece.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What stands from a place on, at most so many bytes of one channel; none at the end. What is kept no longer is left
    /// out.
    pub fn next(&self, place: u64, most: usize) -> Option<(C, Bytes)> {
        let mut at = self.start;
        let place = place.max(at);
        for (channel, bytes) in &self.pieces {
            let behind = at + bytes.len() as u64;
            if place < behind {
                let mut rest = bytes.clone();
                rest.advance(usize::try_from(place - at).unwrap_or_default());
                rest.truncate(most);
                return Some((*channel, rest));
            }
            at = behind;
        }
        None
    }

    fn trim(&mut self) {
        while let Some((_, first)) = self.pieces.front() {
            let behind = self.start + first.len() as u64;
            let is_full = self.end - self.start > KEPT || self.pieces.len() >= PIECES;
            if !is_full || behind > self.confirmed {
                break;
            }
            self.start = behind;
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(replay: &Replay<u8>, mut place: u64) -> Vec<u8> {
        let mut said = Vec::new();
        place = place.max(replay.start());
        while let Some((_, bytes)) = replay.next(place, 5000) {
            place += bytes.len() as u64;
            said.extend_from_slice(&bytes);
        }
        assert_eq!(place, replay.end());
        said
    }

    #[test]
    fn what_is_not_confirmed_is_kept_and_holds_up() {
        let mut replay = Replay::default();
        assert!(replay.has_room() && replay.next(0, 9).is_none());
        for _ in 0..10 {
            replay.push(1, Bytes::from(vec![b'x'; 32 * 1024]));
        }
        assert!(!replay.has_room());
        assert_eq!((replay.start(), replay.end()), (0, 320 * 1024));
        replay.confirm(320 * 1024 - 10);
        assert!(replay.has_room());
        assert_eq!(replay.start(), 192 * 1024, "as far as there is room");
        assert_eq!(all(&replay, 320 * 1024 - 10), [b'x'; 10]);
        replay.confirm(5);
        replay.confirm(u64::MAX);
        assert_eq!(replay.end(), 320 * 1024);
    }

    #[test]
    fn short_pieces_hold_up_no_sooner_than_long_ones() {
        let (mut replay, mut said) = (Replay::default(), Vec::new());
        while replay.has_room() {
            let byte = u8::try_from(said.len() % 251).unwrap();
            said.push(byte);
            replay.push(0, Bytes::from(vec![byte]));
        }
        assert_eq!(said.len() as u64, WINDOW);
        assert_eq!(all(&replay, 0), said);
        // Each on another channel than the one before: what was confirmed makes room.
        let (mut replay, mut pieces) = (Replay::default(), 0);
        while replay.has_room() {
            replay.push(u8::try_from(pieces % 2).unwrap(), Bytes::from_static(b"x"));
            pieces += 1;
        }
        assert_eq!(pieces, PIECES);
        replay.confirm(100);
        assert!(replay.has_room());
    }

    proptest! {
        #[test]
        fn nothing_is_lost_from_where_it_was_confirmed(
            steps in proptest::collection::vec((1_usize..40_000, 0_u64..40_000), 1..60),
        ) {
            let (mut replay, mut said, mut confirmed) = (Replay::default(), Vec::new(), 0);
            for (index, (length, heard)) in steps.into_iter().enumerate() {
                if replay.has_room() {
                    let bytes = vec![u8::try_from(index % 251).unwrap(); length];
                    said.extend_from_slice(&bytes);
                    replay.push(u8::try_from(index % 2).unwrap(), Bytes::from(bytes));
                }
                confirmed = (confirmed + heard).min(replay.end());
                replay.confirm(confirmed);
                prop_assert!(replay.start() <= confirmed);
                prop_assert!(replay.end() - replay.start() <= KEPT + 80_000);
                let from = usize::try_from(confirmed).unwrap();
                prop_assert_eq!(&all(&replay, confirmed)[..], &said[from..]);
            }
        }
    }
}
