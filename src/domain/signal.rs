//! Signals that a client may send.

use std::str::FromStr;

/// A signal by name. Only those that a main process may be expected to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signal(&'static str);

impl Signal {
    /// All there are.
    pub const KNOWN: &[&str] =
        &["SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM", "SIGCONT", "SIGSTOP", "SIGWINCH"];

    /// Ends a process, whatever it thinks of that.
    pub const KILL: Self = Self("SIGKILL");

    /// The name, with `SIG`.
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

impl FromStr for Signal {
    type Err = String;

    /// With or without `SIG`, in any case.
    fn from_str(input: &str) -> Result<Self, String> {
        let upper = input.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = Self::KNOWN.iter().find(|name| name.strip_prefix("SIG") == Some(bare));
        found.map(|name| Self(name)).ok_or_else(|| format!("must be one of {}", Self::KNOWN.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_forgiving_and_unknown_ones_are_not_signals() {
        for good in ["SIGTERM", "term", "Kill"] {
            assert!(good.parse::<Signal>().is_ok(), "{good}");
        }
        for bad in ["", "SIG", "9", "TERM ", "SIGSIGTERM", "SEGV"] {
            assert!(bad.parse::<Signal>().is_err(), "{bad}");
        }
    }
}
