//! What the program takes from outside itself: the time and fresh identifiers.

use time::OffsetDateTime;

/// The clock and the source of identifiers, passed in so that tests can set them.
#[derive(Clone, Copy)]
pub struct World {
    /// The time, UTC.
    pub now: fn() -> OffsetDateTime,
    /// A fresh identifier: 32 lower-case hex digits, 122 bits of them random.
    pub new_id: fn() -> String,
}

impl World {
    /// The time in milliseconds since 1970, as the store keeps it.
    pub fn now_ms(&self) -> i64 {
        let now = (self.now)();
        now.unix_timestamp() * 1000 + i64::from(now.millisecond())
    }
}
