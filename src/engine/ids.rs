//! The user namespace of a container, as Podman tells it.

use serde::{Deserialize, Serialize};

/// `HostConfig` of an inspected container, as far as it says whose numbers are whose.
#[derive(Deserialize)]
pub(super) struct HostConfig {
    #[serde(rename = "IDMappings", default)]
    ids: Option<IdMappings>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IdMappings {
    #[serde(default)]
    uid_map: Option<Vec<String>>,
    #[serde(default)]
    gid_map: Option<Vec<String>>,
}

/// So many numbers, the first of which is one inside and another on the host.
/// As Podman's create takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(super) struct IdMap {
    #[serde(rename = "container_id")]
    inside: u32,
    #[serde(rename = "host_id")]
    outside: u32,
    size: u32,
}

impl HostConfig {
    /// Of users; none where the host's are the container's.
    pub(super) fn users(&self) -> Vec<IdMap> {
        parsed(self.ids.as_ref().and_then(|ids| ids.uid_map.as_ref()))
    }

    /// The same of groups.
    pub(super) fn groups(&self) -> Vec<IdMap> {
        parsed(self.ids.as_ref().and_then(|ids| ids.gid_map.as_ref()))
    }
}

fn parsed(lines: Option<&Vec<String>>) -> Vec<IdMap> {
    lines.into_iter().flatten().filter_map(|line| IdMap::parse(line)).collect()
}

impl IdMap {
    /// `0:10000000:65536`.
    fn parse(line: &str) -> Option<Self> {
        let mut numbers = line.split(':').map(str::parse::<u32>);
        match (numbers.next()?, numbers.next()?, numbers.next()?) {
            (Ok(inside), Ok(outside), Ok(size)) => Some(Self { inside, outside, size }),
            _ => None,
        }
    }
}
