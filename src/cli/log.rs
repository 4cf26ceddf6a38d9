//! Where the log goes, and how much of it.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Changes the filter of a log that was started.
pub(super) type SetLevel = Box<dyn Fn(&str) + Send + Sync>;

/// Starts the log of this process on standard error.
pub(super) fn start(log: &Log) -> SetLevel {
    let filter = filter(&log.level);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if log.json {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        Box::new(move |level| drop(handle.reload(self::filter(level))))
    } else {
        let builder = builder.with_ansi(std::io::stderr().is_terminal()).with_filter_reloading();
        let handle = builder.reload_handle();
        builder.init();
        Box::new(move |level| drop(handle.reload(self::filter(level))))
    }
}

/// The configuration has checked it.
fn filter(level: &str) -> EnvFilter {
    EnvFilter::try_new(level).unwrap_or_default()
}
