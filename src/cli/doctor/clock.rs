//! The clock: tokens, expiry times and certificates depend on it.

use std::path::Path;
use std::process::Command;

use super::Report;

const CHECK: &str = "clock";

/// Says whether the system keeps its clock by NTP, where it can be known.
pub(super) fn examine(report: &mut Report) {
    let asked = Command::new("timedatectl").args(["show", "--property=NTPSynchronized", "--value"]).output();
    let answer = asked.ok().filter(|done| done.status.success());
    let answer = answer.map(|done| String::from_utf8_lossy(&done.stdout).trim().to_owned());
    let advice = "enable systemd-timesyncd or chrony";
    match answer.as_deref() {
        Some("yes") => report.ok(CHECK, "kept by NTP"),
        Some("no") => report.warn(CHECK, "not kept by NTP", advice),
        _ if Path::new("/run/systemd/timesync/synchronized").exists() => report.ok(CHECK, "kept by NTP"),
        _ => report.warn(CHECK, "whether NTP keeps it is not known here", advice),
    }
}
