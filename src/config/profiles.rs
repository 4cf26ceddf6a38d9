//! What containers may have, each and all of a tenant's together.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::reader::Reader;
use super::{ExecTime, Expiry, Profile, Quotas};
use crate::domain::{ContainerLimits, NetworkMode, Resource};

pub(super) fn profiles(r: &mut Reader) -> BTreeMap<String, Profile> {
    let mut found = BTreeMap::new();
    for name in r.names_in("profiles") {
        let fits = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') && name.len() <= 32;
        if !fits {
            r.mistake(format!("profiles.{name}"), "a profile's name is at most 32 of a-z, 0-9 and '-'");
        }
        let profile = profile(r, &name);
        found.insert(name, profile);
    }
    found
}

fn profile(r: &mut Reader, name: &str) -> Profile {
    // A key that this profile leaves out is read where the default profile has it.
    let key = |r: &Reader, key: &str| {
        let own = format!("profiles.{name}.{key}");
        if r.has(&own) { own } else { format!("profiles.default.{key}") }
    };
    let keys = [
        "memory_bytes",
        "pids",
        "cpus",
        "open_files",
        "log_bytes",
        "capabilities",
        "network",
        "max_ports",
        "port_address",
        "durable",
    ];
    let [memory_bytes, pids, cpus, open_files, log_bytes, capabilities, network, max_ports, port_address, durable] =
        keys.map(|name| key(r, name));
    let seconds = ["expires_seconds", "max_expires_seconds", "idle_seconds"].map(|name| key(r, name));
    let exec_seconds = ["exec_seconds", "max_exec_seconds"].map(|name| key(r, name));
    let [ports, auto_ports] = ["ports", "auto_ports"].map(|name| key(r, name));
    let limits = ContainerLimits {
        memory_bytes: r.number(&memory_bytes, 6_291_456..=i64::MAX),
        pids: r.number(&pids, 1..=4_194_304),
        cpu_millis: (r.number(&cpus, 0.01..=1024.0) * 1000.0) as i64,
        open_files: r.number(&open_files, 64..=1_048_576),
        log_bytes: r.number(&log_bytes, 4096..=1_099_511_627_776),
    };
    let added: Vec<String> = r.get(&capabilities);
    for capability in added.iter().filter(|capability| !ADDABLE_CAPABILITIES.contains(&capability.as_str())) {
        r.mistake(&capabilities, format!("{capability:?} is none of {}", ADDABLE_CAPABILITIES.join(", ")));
    }
    let network = r.parsed(&network, str::parse).unwrap_or(NetworkMode::None);
    let port_address =
        r.parsed(&port_address, |text| text.parse::<IpAddr>().map_err(|_| format!("{text:?} is no IP address")));
    Profile {
        limits,
        capabilities: added,
        network,
        max_ports: r.number(&max_ports, 0..=16),
        port_address: port_address.unwrap_or(IpAddr::from([127, 0, 0, 1])),
        ports: r.parsed(&ports, port_range).unwrap_or(LOWEST_PORT..=u16::MAX),
        auto_ports: r.parsed(&auto_ports, port_range).unwrap_or(LOWEST_PORT..=u16::MAX),
        durable: r.get(&durable),
        expiry: expiry(r, &seconds),
        exec_time: exec_time(r, &exec_seconds),
    }
}

fn expiry(r: &mut Reader, [default, most, idle]: &[String; 3]) -> Expiry {
    let mut seconds =
        |key: &str| Some(Duration::from_secs(r.number(key, 0..=MAX_EXPIRY))).filter(|time| !time.is_zero());
    let found = Expiry { default: seconds(default), most: seconds(most), idle: seconds(idle) };
    if let (Some(given), Some(bound)) = (found.default, found.most)
        && given > bound
    {
        r.mistake(default, "is more than max_expires_seconds");
    }
    found
}

fn exec_time(r: &mut Reader, [default, most]: &[String; 2]) -> ExecTime {
    let mut seconds = |key: &str| Duration::from_secs(r.number(key, 1..=86_400));
    let found = ExecTime { default: seconds(default), most: seconds(most) };
    if found.default > found.most {
        r.mistake(default, "is more than max_exec_seconds");
    }
    found
}

/// Ten years: the sum with any date we see fits its type.
const MAX_EXPIRY: u64 = 10 * 365 * 86_400;

/// Lowest host port a tenant may have (SECURITY rule 25).
const LOWEST_PORT: u16 = 1024;

fn port_range(text: &str) -> Result<RangeInclusive<u16>, String> {
    let wrong = || format!("{text:?} is not FIRST-LAST within {LOWEST_PORT} to 65535");
    let (first, last) = text.split_once('-').ok_or_else(wrong)?;
    let (first, last): (u16, u16) = (first.parse().map_err(|_| wrong())?, last.parse().map_err(|_| wrong())?);
    if first >= LOWEST_PORT && first <= last { Ok(first..=last) } else { Err(wrong()) }
}

/// What an administrator may add to the lean set. The rest of the kernel's list is root on the host by another name.
const ADDABLE_CAPABILITIES: &[&str] = &["NET_RAW", "SYS_NICE", "SYS_PTRACE", "IPC_LOCK"];

pub(super) fn quotas(r: &mut Reader) -> Quotas {
    let defaults = [
        (Resource::Containers, r.number("quotas.containers", 0..=1_000_000)),
        (Resource::Running, r.number("quotas.running", 0..=1_000_000)),
        (Resource::Memory, r.number("quotas.memory_bytes", 0..=i64::MAX)),
        (Resource::CpuMillis, (r.number("quotas.cpus", 0.0..=1_000_000.0) * 1000.0) as i64),
        (Resource::Pids, r.number("quotas.pids", 0..=1_000_000_000)),
        (Resource::Volumes, r.number("quotas.volumes", 0..=1_000_000)),
        (Resource::StoredBytes, r.number("quotas.stored_bytes", 0..=i64::MAX)),
        (Resource::Execs, r.number("quotas.execs", 0..=100_000)),
        (Resource::Streams, r.number("quotas.streams", 0..=100_000)),
    ];
    Quotas { defaults: defaults.into() }
}
