//! Whether the memory of Podman's service is bounded: what containers make it read, it has in memory.

use std::path::{Path, PathBuf};

use super::Report;

/// What stands there without a bound under cgroup v1: the largest number of pages.
const ENDLESS: u64 = 1 << 60;

pub(super) fn examine(report: &mut Report) {
    const CHECK: &str = "podman memory";
    let advice = "MemoryMax=50% and OOMPolicy=continue in its unit, as podgate-podman.service has them";
    let services = services();
    if services.is_empty() {
        report.warn(CHECK, "Podman's service cannot be seen from here, nor whether its memory is bounded", advice);
        return;
    }
    let bounds: Vec<Option<u64>> = services.iter().map(|pid| bound(pid)).collect();
    match bounds.iter().copied().collect::<Option<Vec<u64>>>() {
        Some(bounds) => {
            let most = bounds.into_iter().max().unwrap_or_default() / (1024 * 1024);
            report.ok(CHECK, format!("Podman's service has at most {most} MiB"));
        }
        None => {
            let message = "nothing bounds what Podman's service may take: a container can make it take all there is";
            report.warn(CHECK, message, advice);
        }
    }
}

/// The processes that serve Podman's API.
fn services() -> Vec<String> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().into_string().ok());
    pids.filter(|pid| pid.bytes().all(|byte| byte.is_ascii_digit()))
        .filter(|pid| {
            let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let mut words = line.split(|byte| *byte == 0);
            words.next().is_some_and(|program| program.ends_with(b"podman"))
                && line.windows(16).any(|part| part == b"\0system\0service\0")
        })
        .collect()
}

/// The least that a process's control groups bound its memory to; none without a bound.
fn bound(pid: &str) -> Option<u64> {
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).ok()?;
    let of_line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?.trim_start_matches('/'));
        match controllers {
            "" => Some((PathBuf::from("/sys/fs/cgroup"), "memory.max", path.to_owned())),
            _ if controllers.split(',').any(|one| one == "memory") => {
                Some((PathBuf::from("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", path.to_owned()))
            }
            _ => None,
        }
    };
    let bounds = groups.lines().filter_map(of_line).flat_map(|(root, file, path)| {
        let lowest = root.join(path);
        let groups: Vec<PathBuf> =
            lowest.ancestors().take_while(|at| at.starts_with(&root)).map(Path::to_owned).collect();
        groups.into_iter().filter_map(move |group| std::fs::read_to_string(group.join(file)).ok()?.trim().parse().ok())
    });
    bounds.filter(|bytes: &u64| *bytes < ENDLESS).min()
}
