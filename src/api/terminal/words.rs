//! What is said beside the bytes, as JSON in text messages.

use serde::{Deserialize, Serialize};

use crate::domain::Signal;
use crate::engine::{Exit, Size};

/// From the client.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum Wish {
    /// The window's size.
    Resize { rows: u16, columns: u16 },
    /// A signal, by name.
    Signal { signal: String },
    /// Standard input is over.
    End {},
    /// To be answered.
    Ping {},
}

/// To the client.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum Word<'a> {
    /// The first: what to come back with, within so many seconds, and how many bytes of output came before what follows.
    Session { session: &'a str, resumable_seconds: u64, offset: u64 },
    /// The answer.
    Pong {},
    /// The command ended; the last.
    Exit {
        /// 128 and the signal's number where a signal ended it; none where nobody knows.
        exit_code: Option<i64>,
        /// Whether it and all it started are sure to be gone.
        supervised: bool,
        /// How many processes had to be killed.
        killed: u32,
    },
}

impl Word<'_> {
    pub(super) fn exit(exit: &Exit) -> Self {
        let by_signal = exit.signal.map(|signal| 128 + i64::from(signal));
        Self::Exit { exit_code: exit.exit_code.or(by_signal), supervised: exit.supervised, killed: exit.killed }
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The number that Linux has for a signal.
pub(super) fn number(signal: Signal) -> u8 {
    match signal.as_str() {
        "SIGHUP" => 1,
        "SIGINT" => 2,
        "SIGQUIT" => 3,
        "SIGUSR1" => 10,
        "SIGUSR2" => 12,
        "SIGTERM" => 15,
        "SIGCONT" => 18,
        "SIGSTOP" => 19,
        "SIGWINCH" => 28,
        _ => 9,
    }
}

/// A window that there can be.
pub(super) fn size(rows: u16, columns: u16) -> Result<Size, String> {
    let fits = |number: u16| (1..=4096).contains(&number);
    if fits(rows) && fits(columns) {
        Ok(Size { rows, columns })
    } else {
        Err("rows and columns are within 1 and 4096".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_known_is_a_wish() {
        let parse = |text: &str| serde_json::from_str::<Wish>(text).ok();
        assert_eq!(
            parse(r#"{"type": "resize", "rows": 24, "columns": 80}"#),
            Some(Wish::Resize { rows: 24, columns: 80 })
        );
        assert_eq!(parse(r#"{"type": "end"}"#), Some(Wish::End {}));
        for bad in
            ["", "1", "{}", r#"{"type": "x"}"#, r#"{"type": "end", "x": 1}"#, r#"{"type": "resize", "rows": -1}"#]
        {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
