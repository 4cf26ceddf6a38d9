//! How times are written.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
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

/// RFC 3339, any offset, as milliseconds since 1970.
pub fn parse_timestamp_ms(text: &str) -> Result<i64, String> {
    let time = OffsetDateTime::parse(text, &Rfc3339);
    let time = time.map_err(|_| "must be a time such as 2025-01-19T15:47:19Z".to_owned())?;
    Ok(time.unix_timestamp() * 1000 + i64::from(time.millisecond()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_offset() {
        assert_eq!(parse_timestamp_ms("2025-01-19T16:47:59.123+01:00"), Ok(1_737_301_679_123));
        assert!(parse_timestamp_ms("2025-01-19").is_err() && parse_timestamp_ms("0").is_err());
    }

    #[test]
    fn times_are_written_as_the_contract_says() {
        assert_eq!(timestamp_ms(1_737_301_679_123), "2025-01-19T15:47:59.123000Z");
    }
}
