//! Processes of containers that Podman does not know: it was killed in the middle of a start, and had not written down yet
//! what it had begun. They hold ports, and user ids that a later tenant may get.

use std::path::Path;
use std::time::Duration;

use super::Report;
use crate::domain::EngineId;
use crate::engine::Engine;
use crate::policy::grant::SystemGrant;

const CHECK: &str = "leftovers";

/// How long a process may go on whose container was just taken away.
const ENDING: Duration = Duration::from_secs(2);

/// Looks at this host's monitors of containers of this Podman, which has them below `storage`; elsewhere there are none.
pub(super) async fn examine(engine: &Engine, storage: &str, grant: &SystemGrant, report: &mut Report) {
    let proc = Path::new("/proc");
    let mut lost = Vec::new();
    for (process, id) in monitors(proc, storage) {
        if let Ok(false) = engine.has(grant, &id).await {
            lost.push(process);
        }
    }
    if !lost.is_empty() {
        tokio::time::sleep(ENDING).await;
        lost.retain(|process| monitor(&proc.join(process), storage).is_some());
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

/// The process ids of `conmon`, with their containers.
fn monitors(proc: &Path, storage: &str) -> Vec<(String, EngineId)> {
    let processes = std::fs::read_dir(proc).into_iter().flatten().flatten();
    processes.filter_map(|process| monitor(&process.path(), storage)).collect()
}

fn monitor(process: &Path, storage: &str) -> Option<(String, EngineId)> {
    let command = std::fs::read_to_string(process.join("cmdline")).ok()?;
    Some((process.file_name()?.to_str()?.to_owned(), container_of(&command, storage)?))
}

/// The container of that storage that a monitor's command line is about; none of other programs, and of the monitors of
/// commands in it.
fn container_of(command: &str, storage: &str) -> Option<EngineId> {
    let mut words = command.split('\0');
    words.next().filter(|program| *program == "conmon" || program.ends_with("/conmon"))?;
    let words: Vec<&str> = words.collect();
    let value = |option: &str| words.windows(2).find(|pair| pair[0] == option).map(|pair| pair[1]);
    let id = value("-c").filter(|id| value("-u") == Some(id))?;
    value("-b")?.strip_prefix(storage)?.strip_prefix("/overlay-containers/")?.strip_prefix(id)?;
    EngineId::parse(id).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_is_known_by_its_words() {
        let id = "a".repeat(64);
        let bundle = format!("/store/overlay-containers/{id}/userdata");
        let container = |program: &str, of: &str, storage: &str| {
            let words = [program, "--api-version", "1", "-c", &id, "-u", of, "-b", &bundle, "-n", "a.b"];
            container_of(&words.join("\0"), storage)
        };
        assert!(container("/usr/bin/conmon", &id, "/store").is_some());
        assert!(container("/usr/bin/conmon", "another", "/store").is_none(), "a command's");
        assert!(container("/usr/bin/conmon", &id, "/sto").is_none(), "another Podman's");
        assert!(container("/bin/sh", &id, "/store").is_none());
    }
}
