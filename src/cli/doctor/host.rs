//! The host: data directory, disk, firewall, kernel settings.

use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Report;
use crate::config::{self, Config};
use crate::engine::Examined;
use crate::serve::{connections_within, most_open_files};

const MIB: u64 = 1024 * 1024;

/// Below these, in MiB, a disk is nearly full or as good as full.
const LITTLE: u64 = 2048;
const NEXT_TO_NOTHING: u64 = 200;

pub(super) fn examine(config: &Config, report: &mut Report) {
    data_dir(&config.data_dir, report);
    firewall(report);
    null(report);
    ports(config, report);
    write_back(report);
    open_files(config.http.max_connections, report);
}

/// Whether as many connections can be open as are configured.
fn open_files(wanted: usize, report: &mut Report) {
    const CHECK: &str = "open files";
    let fit = connections_within(most_open_files());
    if fit < wanted {
        let message = format!("as started here, {fit} connections fit of http.max_connections = {wanted}");
        report.warn(CHECK, message, "raise the hard limit (LimitNOFILE of the unit, ulimit -Hn), or lower the key");
    } else {
        report.ok(CHECK, format!("http.max_connections = {wanted} fits into the limit"));
    }
}

fn data_dir(dir: &Path, report: &mut Report) {
    const CHECK: &str = "data directory";
    let shown = dir.display();
    match std::fs::metadata(dir) {
        Ok(found) if found.mode() & 0o077 != 0 => {
            let advice = format!("chmod 700 {shown}: it holds password hashes and signing keys");
            report.fail(CHECK, format!("{shown} is open to others"), advice);
        }
        Ok(_) => report.ok(CHECK, format!("{shown} is its owner's alone")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            report.warn(CHECK, format!("{shown} is not there yet"), "the first start of the gateway makes it");
        }
        Err(error) => {
            let advice = "run this as root or as the gateway's user";
            report.fail(CHECK, format!("{shown} cannot be looked at: {error}"), advice);
        }
    }
}

/// Whether our table is loaded, which only root is told.
fn firewall(report: &mut Report) {
    const CHECK: &str = "firewall";
    let load = "load it at every boot: systemctl enable --now podgate-firewall (nft -f podgate.nft)";
    if !rustix::process::geteuid().is_root() {
        report.warn(CHECK, "only root can see whether it is loaded", "run this as root");
        return;
    }
    match Command::new("nft").args(["list", "table", "inet", "podgate"]).output() {
        Ok(done) if done.status.success() => report.ok(CHECK, "the table inet podgate is loaded"),
        Ok(_) => {
            report.fail(CHECK, "the table inet podgate is not loaded: containers reach the host and each other", load);
        }
        Err(_) => report.fail(CHECK, "there is no nft to see or load it with", "install nftables"),
    }
}

/// Whether /dev/null is root's: every container has it, and whoever owns it may close it to all others
/// (docs/decisions/0030-standard-input.md).
fn null(report: &mut Report) {
    const CHECK: &str = "/dev/null";
    let advice =
        "chown root:root /dev/null; chmod 666 /dev/null. Whoever starts containers past the gateway gives it away";
    match std::fs::metadata(CHECK) {
        Ok(found) if !found.file_type().is_char_device() => {
            report.fail(CHECK, "it is no device", "rm /dev/null; mknod -m 666 /dev/null c 1 3");
        }
        // In a user namespace of our own, whose it is cannot be seen.
        Ok(found) if ![0, NOBODY].contains(&found.uid()) => {
            report.fail(CHECK, format!("user {} owns it, and may close it to all others", found.uid()), advice);
        }
        Ok(found) if found.mode() & 0o666 != 0o666 => report.fail(CHECK, "it is not open to all", advice),
        Ok(_) => report.ok(CHECK, "it is root's, and open to all"),
        Err(error) => report.fail(CHECK, format!("it cannot be looked at: {error}"), advice),
    }
}

/// Whoever has no number here.
const NOBODY: u32 = 65_534;

/// Whether tenants may have ports of what the gateway works with, as far as the configuration says. Its own it never gives.
fn ports(config: &Config, report: &mut Report) {
    const CHECK: &str = "ports";
    let of_database = match &config.store {
        config::Store::Postgres(url) => database_on_loopback(url.expose()),
        config::Store::Sqlite(_) => None,
    };
    let mut open = config.profiles.iter().filter(|(_, profile)| profile.max_ports > 0);
    let overlap = of_database.and_then(|port| open.find(|(_, profile)| profile.ports.contains(&port)).zip(Some(port)));
    if let Some(((name, _), port)) = overlap {
        let message = format!("tenants may publish port {port}, which is the database's");
        report.warn(
            CHECK,
            message,
            format!("leave it out of profiles.{name}.ports: while the database is down, it is theirs"),
        );
        return;
    }
    let own: Vec<String> = config.own_ports().iter().map(u16::to_string).collect();
    report.ok(CHECK, format!("no tenant gets the gateway's own: {}", own.join(", ")));
}

/// The port of a database on this host.
fn database_on_loopback(url: &str) -> Option<u16> {
    let url = url::Url::parse(url).ok()?;
    let is_here = match url.host_str()?.trim_matches(['[', ']']) {
        "localhost" => true,
        host => host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()),
    };
    is_here.then(|| url.port().unwrap_or(5432))
}

/// How much may wait to be written: everybody's fsync waits for it (docs/decisions/0008-bombs.md).
fn write_back(report: &mut Report) {
    let bytes = std::fs::read_to_string("/proc/sys/vm/dirty_bytes").ok();
    match bytes.and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(0) => {
            let advice = "copy podgate.sysctl.conf to /etc/sysctl.d and run sysctl --system";
            let message = "memory bounds what waits to be written: one tenant's writing is the others' delay";
            report.warn("write-back", message, advice);
        }
        Some(bytes) => report.ok("write-back", format!("at most {} MiB wait to be written", bytes / MIB)),
        None => {}
    }
}

/// What is left on the disks of the data directory and of Podman's storage, and whether the latter can be bounded.
pub(super) fn examine_storage(config: &Config, podman: Option<&Examined>, report: &mut Report) {
    free("disk of data", &config.data_dir, report);
    let Some(found) = podman else { return };
    let root = PathBuf::from(&found.storage_root);
    if !root.is_dir() {
        let message = format!("{} is not on this host", root.display());
        report.warn("disk of Podman", message, "look there with df; containers fill it");
        return;
    }
    free("disk of Podman", &root, report);
    if found.storage == "overlay" && has_project_quota(&root) {
        report.ok("disk quota", "XFS with project quotas: what a container writes can be bounded");
    } else {
        let message = format!("{} on this file system: what containers write is measured, not bounded", found.storage);
        report.warn("disk quota", message, "put Podman's storage on XFS mounted with pquota, and on a disk of its own");
    }
}

/// The nearest directory that is there.
fn existing(path: &Path) -> &Path {
    path.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"))
}

fn free(check: &'static str, dir: &Path, report: &mut Report) {
    let shown = dir.display();
    let stat = match rustix::fs::statvfs(existing(dir)) {
        Ok(stat) => stat,
        Err(error) => {
            report.warn(check, format!("{shown} cannot be measured: {error}"), "look with df");
            return;
        }
    };
    let free = stat.f_bavail * stat.f_frsize / MIB;
    let inodes_short = stat.f_files > 0 && stat.f_favail < stat.f_files / 20;
    let message = format!("{free} MiB free at {shown}");
    if free < NEXT_TO_NOTHING {
        report.fail(check, message, "make room: without it nothing can be created, and the store cannot be written");
    } else if free < LITTLE || inodes_short {
        let inodes = if inodes_short { ", and few inodes" } else { "" };
        report.warn(check, message + inodes, "make room before tenants feel it");
    } else {
        report.ok(check, message);
    }
}

fn has_project_quota(root: &Path) -> bool {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let of = |line: &str| {
        let fields: Vec<&str> = line.split(' ').collect();
        let [_, at, kind, options, ..] = fields[..] else { return None };
        root.starts_with(at).then(|| (at.len(), kind == "xfs" && options.split(',').any(is_project_quota)))
    };
    mounts.lines().filter_map(of).max_by_key(|(length, _)| *length).is_some_and(|(_, quota)| quota)
}

fn is_project_quota(option: &str) -> bool {
    matches!(option, "pquota" | "prjquota")
}
