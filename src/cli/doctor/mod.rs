//! `podgate doctor`: looks at the host, and says what is wrong and what to do.
//!
//! It changes nothing.

mod certificates;
mod clock;
mod host;
mod leftovers;
mod memory;
mod podman;
mod store;

use std::path::PathBuf;

use serde::Serialize;

use super::{Failure, print, print_json};
use crate::app;
use crate::config::Config;

/// How good a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, and could be better or safer.
    Warn,
    /// It does not work.
    Fail,
}

/// What one check found.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    level: Level,
    message: String,
    /// What to do; none where all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// What the checks write into.
#[derive(Debug, Default)]
pub(super) struct Report(Vec<Finding>);

impl Report {
    fn ok(&mut self, check: &'static str, message: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Ok, message: message.into(), advice: None });
    }

    fn warn(&mut self, check: &'static str, message: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Warn, message: message.into(), advice: Some(advice.into()) });
    }

    fn fail(&mut self, check: &'static str, message: impl Into<String>, advice: impl Into<String>) {
        self.0.push(Finding { check, level: Level::Fail, message: message.into(), advice: Some(advice.into()) });
    }

    fn count(&self, level: Level) -> usize {
        self.0.iter().filter(|finding| finding.level == level).count()
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for Finding { check, level, message, advice } in &self.0 {
            let word = match level {
                Level::Ok => "OK  ",
                Level::Warn => "WARN",
                Level::Fail => "FAIL",
            };
            text += &format!("{word}  {check:<18}{message}\n");
            if let Some(advice) = advice {
                text += &format!("{:24}-> {advice}\n", "");
            }
        }
        text += &format!("{} failed, {} to think about\n", self.count(Level::Fail), self.count(Level::Warn));
        text
    }
}

pub(super) async fn run(file: Option<PathBuf>, json: bool) -> Result<(), Failure> {
    let report = examine(file).await;
    if json {
        let (failed, warned) = (report.count(Level::Fail), report.count(Level::Warn));
        let all = serde_json::json!({"checks": report.0, "failed": failed, "warned": warned});
        print_json(&all)?;
    } else {
        print(&report.text())?;
    }
    match report.count(Level::Fail) {
        0 => Ok(()),
        failed => Err(Failure::Told(format!("{failed} check(s) failed"))),
    }
}

async fn examine(file: Option<PathBuf>) -> Report {
    let mut report = Report::default();
    let config = match Config::load(file.as_deref()) {
        Ok(config) => config,
        Err(mistakes) => {
            for mistake in mistakes.0 {
                let colon = if mistake.key.is_empty() { "" } else { ": " };
                let message = format!("{}{colon}{}", mistake.key, mistake.message);
                report.fail(
                    "configuration",
                    message,
                    "correct it; `podgate check-config --defaults` explains every key",
                );
            }
            return report;
        }
    };
    let whence = file.map_or("the defaults".to_owned(), |file| file.display().to_string());
    report.ok("configuration", format!("{whence} is fine"));
    host::examine(&config, &mut report);
    clock::examine(&mut report);
    let heard = store::examine(&config, app::world(), &mut report).await;
    let found = podman::examine(&config, heard, &mut report).await;
    if found.is_some() {
        memory::examine(&mut report);
    }
    host::examine_storage(&config, found.as_ref(), &mut report);
    certificates::examine(&config, app::world(), &mut report).await;
    report
}
