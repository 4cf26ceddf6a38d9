//! Processes of containers that Podman does not know: it was killed in the middle of a start, and had not written down yet
//! what it had begun. They hold ports, and user ids that a later tenant may get.

use std::path::Path;

use super::Report;
use crate::domain::EngineId;
use crate::engine::Engine;
use crate::policy::grant::SystemGrant;

const CHECK: &str = "leftovers";

/// Looks at this host's monitors of tenants' containers; elsewhere there are none.
pub(super) async fn examine(engine: &Engine, grant: &SystemGrant, report: &mut Report) {
    let mut lost = Vec::new();
    for (process, id) in monitors(Path::new("/proc")) {
        if let Ok(false) = engine.has(grant, &id).await {
            lost.push(process);
        }
    }
    if lost.is_empty() {
        report.ok(CHECK, "no process is left of a container that Podman lost");
        return;
    }
    let all = lost.join(" ");
    let message = format!("processes of containers that Podman does not know: conmon {all}");
    report.warn(
        CHECK,
        message,
        format!("end them with what they started: kill -KILL $(pgrep -P {}) {all}", lost.join(",")),
    );
}

/// The process ids of `conmon` in tenants' control groups, with their containers.
fn monitors(proc: &Path) -> Vec<(String, EngineId)> {
    let processes = std::fs::read_dir(proc).into_iter().flatten().flatten();
    processes.filter_map(|process| monitor(&process.path())).collect()
}

fn monitor(process: &Path) -> Option<(String, EngineId)> {
    let read = |file: &str| std::fs::read_to_string(process.join(file)).ok();
    let is_tenants = read("cgroup")?.lines().any(|group| group.contains("/podgate/") || group.contains("/podgate-"));
    let id = is_tenants.then(|| container_of(&read("cmdline")?)).flatten()?;
    Some((process.file_name()?.to_str()?.to_owned(), id))
}

/// The container that a monitor's command line is about; none of other programs, and of the monitors of commands in it.
fn container_of(command: &str) -> Option<EngineId> {
    let mut words = command.split('\0');
    words.next().filter(|program| *program == "conmon" || program.ends_with("/conmon"))?;
    let words: Vec<&str> = words.collect();
    let value = |option: &str| words.windows(2).find(|pair| pair[0] == option).map(|pair| pair[1]);
    value("-c").filter(|id| value("-u") == Some(id)).and_then(|id| EngineId::parse(id).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_is_known_by_its_words() {
        let id = "a".repeat(64);
        let container = |words: &[&str]| container_of(&words.join("\0"));
        assert!(container(&["/usr/bin/conmon", "--api-version", "1", "-c", &id, "-u", &id, "-n", "a.b"]).is_some());
        assert!(container(&["/usr/bin/conmon", "-c", &id, "-u", "another", "-e"]).is_none(), "a command's");
        assert!(container(&["/bin/sh", "-c", &id, "-u", &id]).is_none());
        assert!(container(&["conmon", "-c", "short", "-u", "short"]).is_none());
    }
}
