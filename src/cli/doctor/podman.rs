//! Podman: reached, known, able to enforce what containers are promised.

use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use serde_json::Value;

use super::{Report, leftovers};
use crate::app;
use crate::config::Config;
use crate::domain::{CgroupManager, CgroupParent, Kind, NetworkMode};
use crate::engine::{Deadline, Engine, Examined};
use crate::metrics::Metrics;
use crate::policy::grant::SystemGrant;
use crate::store::Store;

/// How long a container may take to be looked at, and how many are at once.
const LOOK: Duration = Duration::from_secs(2);
const AT_ONCE: usize = 8;

/// The oldest that works, and the newest that was tested.
const OLDEST: (u32, u32) = (4, 3);
const NEWEST: u32 = 5;

const RESTART: &str =
    "restart Podman's service (systemctl restart podgate-podman): containers go on, commands in them end";

pub(super) async fn examine(config: &Config, store: Option<Store>, report: &mut Report) -> Option<Examined> {
    let socket = &config.engine.socket;
    if !reached(socket, report) {
        return None;
    }
    let Config { engine, images, output, agent_path, .. } = config;
    // Looking makes nothing that would bear the installation's name.
    let engine = Engine::new(engine, images, output, agent_path, Metrics::new(), "", app::world());
    if let Err(error) = engine.ping().await {
        let advice = "start it: systemctl start podgate-podman.socket; or name the right one in engine.url";
        report.fail("podman", format!("nobody answers at {}: {error:?}", socket.display()), advice);
        return None;
    }
    report.ok("podman", format!("{} answers", socket.display()));
    let grant = SystemGrant::for_upkeep();
    wedged(&engine, store, &grant, report).await;
    let found = match engine.examine(&grant).await {
        Ok(found) => found,
        Err(error) => {
            let message = format!("Podman does not say how it is set up: {error:?}");
            report.fail("podman version", message, format!("a container may hang, not only one of ours: {RESTART}"));
            return None;
        }
    };
    version(&found, report);
    user_namespaces(config, &found, report);
    cgroups(&found, report);
    fair_shares(config, &found, report);
    if found.network == "netavark" {
        report.ok("networks", "netavark");
    } else {
        let advice = "install netavark and aardvark-dns; existing networks have to be made anew (podman system reset)";
        report.fail("networks", format!("{:?} does not keep tenants apart", found.network), advice);
    }
    internal_names(config, &found, report);
    seccomp(&engine, config, &found, &grant, report).await;
    devices(&found, report);
    leftovers::examine(&engine, &found.storage_root, &grant, report).await;
    Some(found)
}

/// Whether the socket is there, and this user may talk to it.
fn reached(socket: &Path, report: &mut Report) -> bool {
    let shown = socket.display();
    let start = "systemctl enable --now podgate-podman.socket; or name the right one in engine.url";
    match std::fs::metadata(socket) {
        Ok(found) if !found.file_type().is_socket() => {
            report.fail("podman", format!("{shown} is no socket"), start);
            return false;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.fail("podman", format!("{shown} is not there"), start);
            return false;
        }
        _ => {}
    }
    match std::os::unix::net::UnixStream::connect(socket) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            let advice = "run this as root or as the gateway's user, which has to be in the socket's group";
            report.fail("podman", format!("this user may not talk to {shown}"), advice);
            false
        }
        _ => true,
    }
}

/// Podman 4's name server passes on what containers of an internal network ask, and so carries out what they put in names.
fn internal_names(config: &Config, found: &Examined, report: &mut Report) {
    let is_internal = config.profiles.values().any(|profile| profile.network == NetworkMode::Internal);
    if is_internal && found.version.starts_with("4.") {
        let message = "this Podman's name server answers containers without a way out from the internet, too";
        let advice =
            "network = \"none\" in profiles from which no word may get out; or Podman 5, which answers no such name";
        report.warn("internal networks", message, advice);
    }
}

/// Podman reads account files of an image as root of the host, and would open a device there.
fn devices(found: &Examined, report: &mut Report) {
    const CHECK: &str = "devices of images";
    if found.storage != "overlay" {
        return;
    }
    if found.mount_options.split(',').any(|option| option == "nodev") {
        report.ok(CHECK, "containers' roots are mounted without devices");
    } else {
        let advice =
            "mountopt = \"nodev\" below [storage.options.overlay] in Podman's storage.conf, and restart its service";
        report.warn(CHECK, "containers' roots are mounted with the devices that an image brings", advice);
    }
}

fn version(found: &Examined, report: &mut Report) {
    let mut numbers = found.version.split(['.', '-']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    let message = format!("Podman {}", found.version);
    if version < OLDEST {
        report.fail("podman version", message, "4.3 is the oldest that works: Debian 12 has it");
    } else if version.0 > NEWEST {
        report.warn("podman version", message, "tested with 4.3 and 5.4; run the project's tests against this one");
    } else {
        report.ok("podman version", message);
    }
}

fn user_namespaces(config: &Config, found: &Examined, report: &mut Report) {
    const CHECK: &str = "user namespaces";
    let Some(first) = config.engine.first_user_id else {
        if found.rootless {
            report.ok(CHECK, "Podman runs rootless; its containers share one user's ids");
        } else {
            let advice = "set engine.first_user_id; what gets out of a container then is nobody on the host";
            report.warn(CHECK, "root in a container is root on the host", advice);
        }
        return;
    };
    if found.rootless {
        let advice = "engine.first_user_id = 0: a rootless Podman has no ids to give to tenants";
        report.fail(CHECK, "Podman runs rootless and cannot give tenants ids of their own", advice);
        return;
    }
    let most = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap_or_default();
    if most.trim() == "0" {
        let advice = "sysctl user.max_user_namespaces=15000, and in /etc/sysctl.d for the next boot";
        report.fail(CHECK, "the kernel allows none", advice);
        return;
    }
    let taken = ["/etc/subuid", "/etc/subgid"].into_iter().find_map(|file| overlap(file, first.into()));
    match taken {
        Some(whose) => {
            let message = format!("tenants' ids begin at {first}, which may be those of {whose}");
            report.warn(CHECK, message, "set engine.first_user_id beyond all ranges of /etc/subuid and /etc/subgid");
        }
        None => report.ok(CHECK, format!("each tenant has 65,536 ids of its own, from {first} on")),
    }
}

/// Whose line of the file has ids at or beyond the first of ours. How many tenants there will be nobody knows.
fn overlap(file: &str, first: u64) -> Option<String> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let of = |line: &str| {
        let mut fields = line.split(':');
        let (name, start, count) = (fields.next()?, fields.next()?, fields.next()?);
        let end = start.parse::<u64>().ok()?.checked_add(count.trim().parse().ok()?)?;
        (end > first).then(|| format!("{name} in {file}"))
    };
    text.lines().find_map(of)
}

fn cgroups(found: &Examined, report: &mut Report) {
    let needed = ["memory", "pids", "cpu"];
    let missing: Vec<&str> =
        needed.into_iter().filter(|name| !found.controllers.iter().any(|controller| controller == name)).collect();
    let message = format!("cgroup {}, {}", found.cgroups, found.runtime);
    if !missing.is_empty() && found.rootless {
        let advice = "delegate them to Podman's user: Delegate=cpu memory pids in user@.service";
        report.warn("cgroups", format!("{message}: {} cannot be bounded", missing.join(", ")), advice);
    } else if found.cgroups == "v1" {
        let advice = "v2 is better where the host can: io limits, whole containers killed when memory runs out";
        report.warn("cgroups", message, advice);
    } else {
        report.ok("cgroups", message);
    }
}

/// Whether tenants share the processors, and not containers.
fn fair_shares(config: &Config, found: &Examined, report: &mut Report) {
    const CHECK: &str = "fair shares";
    let manager = CgroupManager::parse(&found.cgroup_manager).filter(|_| !found.rootless);
    match &config.engine.cgroup_parent {
        Some(parent) if !parent.fits(manager) => {
            let message =
                format!("engine.cgroup_parent is none of {}, Podman's manager of cgroups", found.cgroup_manager);
            report.fail(CHECK, format!("{message}: it makes no container there"), "engine.cgroup_parent = \"auto\"");
        }
        Some(CgroupParent::Auto) if manager.is_none() => report.ok(CHECK, "as Podman gives them"),
        Some(_) => report.ok(CHECK, "each tenant has a control group of its own"),
        None => report.warn(
            CHECK,
            "who has many containers gets more of the processors than who has few",
            "engine.cgroup_parent = \"auto\"",
        ),
    }
}

async fn seccomp(engine: &Engine, config: &Config, found: &Examined, grant: &SystemGrant, report: &mut Report) {
    const CHECK: &str = "seccomp";
    let path = config.engine.seccomp_path.display();
    if !found.seccomp {
        report.fail(CHECK, "this kernel or Podman cannot filter system calls", "use one that can");
        return;
    }
    match std::fs::read_to_string(&config.engine.seccomp_path) {
        Ok(text) if serde_json::from_str::<Value>(&text).is_err() => {
            report.fail(
                CHECK,
                format!("{path} is no JSON"),
                "put the program's own profile there, or leave seccomp_path empty",
            );
            return;
        }
        Ok(text) if serde_json::from_str(&text).is_ok_and(|profile| is_lax(&profile)) => {
            let advice = "leave seccomp_path empty for the program's own profile; what comes with Podman is not enough";
            report.warn(CHECK, format!("{path} lets containers make FIFOs, or use keyrings"), advice);
            return;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && config.engine.seccomp_is_ours => {
            report.warn(CHECK, format!("{path} is not written yet"), "the gateway writes it when it starts");
            return;
        }
        // Podman's host may have what this one has not.
        _ => {}
    }
    match engine.probe_seccomp(grant).await {
        Ok(true) => report.ok(CHECK, format!("Podman reads {path}")),
        Ok(false) => {
            let advice =
                "the path has to be right on Podman's host, and readable there; creates answer 503 until it is";
            report.fail(CHECK, format!("Podman cannot read {path}"), advice);
        }
        Err(error) => {
            report.warn(CHECK, format!("could not be tried: {error:?}"), "see whether a container can be created");
        }
    }
}

/// Whether a profile allows what ours is there to refuse, whatever the arguments.
fn is_lax(profile: &Value) -> bool {
    const OURS: [&str; 5] = ["mknod", "mknodat", "keyctl", "add_key", "request_key"];
    let allows = |action: &Value| matches!(action.as_str(), None | Some("SCMP_ACT_ALLOW" | "SCMP_ACT_LOG"));
    let all = |list: &Value| list.as_array().cloned().unwrap_or_default();
    let is_free = |rule: &Value| {
        let is_bound = !all(&rule["args"]).is_empty() || !all(&rule["includes"]["caps"]).is_empty();
        let names = all(&rule["names"]);
        !is_bound && allows(&rule["action"]) && names.iter().any(|name| OURS.iter().any(|ours| name == ours))
    };
    allows(&profile["defaultAction"]) || all(&profile["syscalls"]).iter().any(is_free)
}

/// Looks at every container of the ledger.
async fn wedged(engine: &Engine, store: Option<Store>, grant: &SystemGrant, report: &mut Report) {
    let Some(store) = store else { return };
    let (mut looked, mut silent, mut cursor) = (0, Vec::new(), String::new());
    loop {
        let rows = match store.containers_after(&cursor, 500).await {
            Ok(rows) => rows,
            Err(error) => {
                report.fail("containers", format!("the ledger cannot be read: {error:?}"), "see the store's findings");
                return;
            }
        };
        let Some(last) = rows.last() else { break };
        cursor.clone_from(&last.id);
        let looks = rows.iter().filter_map(|row| Some((row, grant.over(row, row.engine_id.clone()?))));
        let looks = looks.map(|(row, grant)| async move {
            let status = engine.status(&grant, Deadline::after(LOOK)).await;
            let silent = matches!(status, Err(error) if error.kind == Kind::EngineTimeout);
            (silent, format!("{}/{}", row.tenant.slug, row.name.as_str()))
        });
        let seen: Vec<(bool, String)> = stream::iter(looks).buffer_unordered(AT_ONCE).collect().await;
        looked += seen.len();
        silent.extend(seen.into_iter().filter(|(silent, _)| *silent).map(|(_, name)| name));
    }
    if silent.is_empty() {
        report.ok("containers", format!("Podman answers for all {looked} of the ledger"));
    } else {
        silent.sort_unstable();
        let some = silent.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
        let message = format!("Podman does not answer for {} of {looked}: {some}", silent.len());
        report.warn("containers", message, RESTART);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_profile_that_refuses_too_little_is_told_from_ours() {
        let ours = serde_json::from_str(include_str!("../../../config/seccomp.json")).unwrap();
        assert!(!is_lax(&ours));
        let refusing = |rules: Value| json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": rules});
        assert!(!is_lax(&refusing(json!([{"names": ["read"], "action": "SCMP_ACT_ALLOW"}]))));
        for lax in [
            json!({}),
            json!({"defaultAction": "SCMP_ACT_ALLOW"}),
            refusing(json!([{"names": ["read", "keyctl"], "action": "SCMP_ACT_ALLOW", "args": null}])),
            refusing(json!([{"names": ["mknodat"], "action": "SCMP_ACT_ALLOW", "args": []}])),
        ] {
            assert!(is_lax(&lax), "{lax}");
        }
    }
}
