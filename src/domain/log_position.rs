//! A place in a container's log.

use std::fmt;
use std::str::FromStr;

/// Behind the `nth` piece that was written in one second.
///
/// Podman tells the second of a piece and no more. A log is written at its end and now and then begun anew, so the same
/// second and number mean the same piece unless it was begun anew in between, which the piece's digest gives away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPosition {
    /// Since 1970.
    pub second: i64,
    /// From 1 on; 0: before all of that second.
    pub nth: u64,
    /// Of the piece. Tells pieces apart that nobody made alike.
    pub digest: u32,
}

impl LogPosition {
    /// Before all that was written in that second.
    pub const fn before(second: i64) -> Self {
        Self { second, nth: 0, digest: 0 }
    }

    /// Of a piece's bytes (FNV-1a).
    pub fn digest_of(piece: &[u8]) -> u32 {
        piece.iter().fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    }
}

impl fmt::Display for LogPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{:08x}", self.second, self.nth, self.digest)
    }
}

impl FromStr for LogPosition {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        let number = |text: &str| {
            let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| is_plain)
        };
        let parse = || {
            let (second, rest) = input.split_once('.')?;
            let (nth, digest) = rest.split_once('.')?;
            let is_hex = digest.len() == 8 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            let digest = u32::from_str_radix(digest, 16).ok().filter(|_| is_hex)?;
            Some(Self { second: i64::try_from(number(second)?).ok()?, nth: number(nth)?, digest })
        };
        parse().ok_or_else(|| "is not one that a log gave".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        let position = LogPosition { second: 1_795_600_081, nth: 3, digest: LogPosition::digest_of(b"a line\n") };
        assert_eq!(position.to_string().parse(), Ok(position));
        let most = "99999999999999999999.1.00000000";
        for bad in ["", "1", "1.2", "1.2.3", "-1.2.00000000", "1.-2.00000000", "1.2.0000000g", "1.2.+0000000", most] {
            assert!(bad.parse::<LogPosition>().is_err(), "{bad}");
        }
    }
}
