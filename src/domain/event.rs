//! What happens to containers, as their tenant is told.

use std::str::FromStr;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EventKind {
    /// It is there.
    Created,
    /// Its main process runs.
    Started,
    /// It was stopped and started at somebody's wish.
    Restarted,
    /// Its processes are frozen.
    Paused,
    /// They go on.
    Unpaused,
    /// Its main process ended, for whatever reason.
    Died,
    /// It was stopped at somebody's wish.
    Stopped,
    /// Its time is over; it goes.
    Expired,
    /// It is gone.
    Removed,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Started,
        Self::Restarted,
        Self::Paused,
        Self::Unpaused,
        Self::Died,
        Self::Stopped,
        Self::Expired,
        Self::Removed,
    ];

    /// The name in the store and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Started => "started",
            Self::Restarted => "restarted",
            Self::Paused => "paused",
            Self::Unpaused => "unpaused",
            Self::Died => "died",
            Self::Stopped => "stopped",
            Self::Expired => "expired",
            Self::Removed => "removed",
        }
    }
}

impl FromStr for EventKind {
    type Err = String;

    fn from_str(input: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|kind| kind.as_str() == input);
        found.ok_or_else(|| format!("{input:?} is no kind of event"))
    }
}
