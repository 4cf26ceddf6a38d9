//! How times are written.

use time::OffsetDateTime;
use time::macros::format_description;

/// RFC 3339, UTC, microseconds.
pub fn timestamp(time: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]Z");
    time.to_offset(time::UtcOffset::UTC).format(format).unwrap_or_default()
}

/// The same for milliseconds since 1970.
pub fn timestamp_ms(ms: i64) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).map(timestamp).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_contract_says() {
        assert_eq!(timestamp_ms(1_737_301_679_123), "2025-01-19T15:47:59.123000Z");
    }
}
