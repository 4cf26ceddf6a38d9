//! What somebody may ask for in a time.

/// What a request learns of its budget, for the `RateLimit` headers
/// (draft-ietf-httpapi-ratelimit-headers: `q` requests a window of `w` seconds; `r` left, `t` seconds until more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Which.
    pub name: &'static str,
    /// Requests that fit at once.
    pub quota: u32,
    /// Seconds in which all of them come back.
    pub window: u64,
    /// Requests left now.
    pub remaining: u32,
    /// Seconds until the budget grows.
    pub reset: u64,
}
