//! What a tenant's containers may have, in the shape of answers.

use std::ops::RangeInclusive;
use std::time::Duration;

use poem_openapi::Object;

use crate::config::Profile;
use crate::domain::NetworkMode;

/// A profile that the tenant's containers may name, as far as the tenant's own limits let them have it.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct ProfileItem {
    /// What a request calls it.
    name: String,
    /// The most bytes of memory of one container, swap included.
    memory_bytes: i64,
    /// The most CPUs of one container.
    cpus: f64,
    /// The most processes of one container.
    pids: i64,
    /// File descriptors of a process.
    open_files: u64,
    /// Bytes of its log that are kept.
    log_bytes: i64,
    /// none (its own loopback), internal (its tenant's containers) or egress (those, and out).
    network: String,
    /// Capabilities beyond the lean set.
    capabilities: Vec<String>,
    /// The most ports that one container publishes.
    max_ports: u64,
    /// Host ports that may be asked for, first to last.
    ports: String,
    /// Seconds after which a container goes, where a request says nothing.
    expires_seconds: Option<u64>,
    /// The most seconds that a request may ask for.
    max_expires_seconds: Option<u64>,
    /// Seconds after its last use after which it goes.
    idle_seconds: Option<u64>,
    /// Seconds that a command may take, where a request says nothing.
    exec_seconds: u64,
    /// The most seconds that a request may ask for.
    max_exec_seconds: u64,
    /// Whether what is written outside of volumes survives a power cut.
    durable: bool,
}

/// A directory of the host that the tenant's containers may mount.
#[derive(Object)]
pub(super) struct ShareItem {
    /// What a request calls it.
    pub(super) name: String,
    /// Whether nothing can be written there.
    pub(super) read_only: bool,
}

impl ProfileItem {
    /// The profile of that name.
    pub(super) fn of(name: String, profile: Profile) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        let span = |ports: RangeInclusive<u16>| format!("{}-{}", ports.start(), ports.end());
        Self {
            name,
            memory_bytes: profile.limits.memory_bytes,
            cpus: profile.limits.cpu_millis as f64 / 1000.0,
            pids: profile.limits.pids,
            open_files: profile.limits.open_files,
            log_bytes: profile.limits.log_bytes,
            network: profile.network.as_str().into(),
            capabilities: profile.capabilities,
            max_ports: if profile.network == NetworkMode::Egress { profile.max_ports as u64 } else { 0 },
            ports: span(profile.ports),
            expires_seconds: seconds(profile.expiry.default),
            max_expires_seconds: seconds(profile.expiry.most),
            idle_seconds: seconds(profile.expiry.idle),
            exec_seconds: profile.exec_time.default.as_secs(),
            max_exec_seconds: profile.exec_time.most.as_secs(),
            durable: profile.durable,
        }
    }

    pub(super) fn sample() -> Self {
        Self {
            name: "default".into(),
            memory_bytes: 536_870_912,
            cpus: 1.0,
            pids: 256,
            open_files: 4096,
            log_bytes: 10_485_760,
            network: "egress".into(),
            capabilities: Vec::new(),
            max_ports: 16,
            ports: "8000-9999".into(),
            expires_seconds: None,
            max_expires_seconds: Some(86_400),
            idle_seconds: None,
            exec_seconds: 30,
            max_exec_seconds: 3600,
            durable: false,
        }
    }
}
