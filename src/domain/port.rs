//! TCP ports that containers publish.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

/// A port that a container is to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedPort {
    /// On the host; none: one of those that are chosen from.
    pub host: Option<u16>,
    /// Inside.
    pub container: u16,
}

/// A port of a container on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// On the host.
    pub host: u16,
    /// Inside.
    pub container: u16,
}

/// What is left of a range without these ports, from the lowest on.
pub fn ports_without(range: &RangeInclusive<u16>, taken: &BTreeSet<u16>) -> Vec<RangeInclusive<u16>> {
    let (mut left, mut first) = (Vec::new(), u32::from(*range.start()));
    let ends = taken.iter().filter(|port| range.contains(port)).map(|port| u32::from(*port));
    for end in ends.chain([u32::from(*range.end()) + 1]) {
        if let (Ok(from), Ok(to), true) = (u16::try_from(first), u16::try_from(end.saturating_sub(1)), first < end) {
            left.push(from..=to);
        }
        first = end + 1;
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_where_ports_are_taken() {
        let left = |range, taken: &[u16]| ports_without(&range, &taken.iter().copied().collect());
        assert_eq!(left(10..=20, &[]), [10..=20]);
        assert_eq!(left(10..=20, &[9, 10, 14, 15, 20, 21]), [11..=13, 16..=19]);
        assert_eq!(left(65534..=65535, &[65535]), [65534..=65534]);
        assert_eq!(left(0..=1, &[0, 1]), []);
        assert_eq!(left(7..=7, &[7]), []);
    }
}
