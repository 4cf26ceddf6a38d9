//! What a container uses.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Deadline, Engine};
use crate::domain::{Error, Kind, Result};
use crate::policy::grant::ContainerGrant;

/// What a container used up to one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The moment, nanoseconds since 1970.
    pub at_ns: u64,
    /// CPU time in all, nanoseconds.
    pub cpu_ns: u64,
    /// Bytes of memory, and how many there may be.
    pub memory: (u64, u64),
    /// Processes.
    pub pids: u64,
    /// Bytes over the network: received and sent.
    pub network: (u64, u64),
    /// Bytes of block devices: read and written.
    pub block: (u64, u64),
}

impl Sample {
    /// CPU time as a share of the time since an earlier sample: 100 is one CPU.
    pub fn cpu_percent(&self, since: &Self) -> f64 {
        match self.at_ns.saturating_sub(since.at_ns) {
            0 => 0.0,
            passed => self.cpu_ns.saturating_sub(since.cpu_ns) as f64 * 100.0 / passed as f64,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    #[serde(default)]
    stats: Option<Vec<Reported>>,
}

/// Podman's own figures, the same on cgroup v1 and v2. 4.3.1 sums the network up and sees it from the host's
/// side, where in is out; 5.4.2 tells each interface.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Reported {
    #[serde(rename = "CPUNano")]
    cpu_nano: u64,
    system_nano: u64,
    mem_usage: u64,
    mem_limit: u64,
    net_input: u64,
    net_output: u64,
    network: Option<BTreeMap<String, Interface>>,
    block_input: u64,
    block_output: u64,
    #[serde(rename = "PIDs")]
    pids: u64,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Interface {
    rx_bytes: u64,
    tx_bytes: u64,
}

impl From<Reported> for Sample {
    fn from(told: Reported) -> Self {
        let network = match told.network {
            Some(all) => all.values().fold((0, 0), |(rx, tx), one| (rx + one.rx_bytes, tx + one.tx_bytes)),
            None => (told.net_output, told.net_input),
        };
        Self {
            at_ns: told.system_nano,
            cpu_ns: told.cpu_nano,
            memory: (told.mem_usage, told.mem_limit),
            pids: told.pids,
            network,
            block: (told.block_input, told.block_output),
        }
    }
}

impl Engine {
    /// What it used so far. `Conflict` if it does not run.
    pub async fn sample(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Sample> {
        let path = format!("/v4.0.0/libpod/containers/stats?containers={}&stream=false", grant.engine_id());
        let ask = async { self.wire.get(&path).await?.checked() };
        let report: Report = self.on(grant, deadline, ask).await?.json()?;
        // Of one that does not run Podman tells zeros, of one that is gone nothing.
        let told = report.stats.and_then(|all| all.into_iter().next()).ok_or_else(Error::no_container)?;
        if told.system_nano == 0 {
            return Err(not_running());
        }
        Ok(told.into())
    }
}

pub(super) fn not_running() -> Error {
    Error::new(Kind::Conflict, "the container is not running")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_of_the_time_between() {
        let sample = |system_nano, cpu_nano| Sample::from(Reported { system_nano, cpu_nano, ..Reported::default() });
        assert_eq!(sample(3_000, 1_500).cpu_percent(&sample(1_000, 500)), 50.0);
        assert_eq!(sample(1_000, 500).cpu_percent(&sample(1_000, 500)), 0.0);
        assert_eq!(sample(1_000, 500).cpu_percent(&sample(2_000, 900)), 0.0, "a clock that was set back");
    }

    #[test]
    fn both_podmans_are_understood() {
        let network = |json: &str| Sample::from(serde_json::from_str::<Reported>(json).unwrap()).network;
        assert_eq!(network(r#"{"CPUNano": 1, "NetInput": 516, "NetOutput": 1220, "PerCPU": null}"#), (1220, 516));
        let interfaces = r#"{"Network": {"eth0": {"RxBytes": 1, "TxBytes": 2}, "eth1": {"RxBytes": 3, "TxBytes": 4}}}"#;
        assert_eq!(network(interfaces), (4, 6));
    }
}
