//! How long a peer may take nothing before it counts as gone.

use std::time::Duration;

/// For so many bytes that a peer took without a word, it has as much time again.
const FOR_EACH: u64 = 512 * 1024;

/// So often at most.
const AT_MOST: u32 = 8;

/// What a peer took may lie in its system, which asks for more when up to half of that is read (measured on Linux: readers
/// of 5 to 40 KB a second asked for nothing for 20 to 90 s). So whoever took much is waited for longer.
pub fn patience(least: Duration, taken: u64) -> Duration {
    let more = u32::try_from(taken / FOR_EACH).unwrap_or(AT_MOST).min(AT_MOST);
    least.saturating_mul(1 + more)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_took_much_is_waited_for_longer() {
        let minutes = |taken| patience(Duration::from_secs(60), taken).as_secs() / 60;
        assert_eq!([0, 500_000, 600_000, 5 << 20, u64::MAX].map(minutes), [1, 1, 2, 9, 9]);
    }
}
