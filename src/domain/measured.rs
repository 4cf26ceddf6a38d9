//! What something takes on a disk.

/// Bytes, as far as they were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// How many.
    pub bytes: i64,
    /// Whether there are no more.
    pub is_whole: bool,
}

impl Measured {
    /// All of it.
    pub const fn whole(bytes: i64) -> Self {
        Self { bytes, is_whole: true }
    }
}
