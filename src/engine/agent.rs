//! The agent's program, and the volume that every container has it from.
//!
//! Each installation has one volume for each program that it ever used, named after the program's digest, and every
//! container mounts it read-only ([`super::install`] fills it).

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use podgate_agent::protocol;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::install::Installation;
use super::spec::{INSTALLATION, own_label};
use super::{Deadline, Engine, failure};
use crate::domain::{Error, Kind, Result, hex};
use crate::policy::grant::{ContainerGrant, CreateGrant, SystemGrant};

/// Where the volume is mounted.
pub(super) const DIRECTORY: &str = "/.podgate";

/// Of volumes with a program. No volume of a tenant has a name that begins so.
const PREFIX: &str = "podgate.agent.";

/// Begins the label of a container through which a gateway installs it, where others have their row.
pub(super) const INSTALLER: &str = "agent.";

/// The largest program taken, in bytes.
const MOST: usize = 2 * 1024 * 1024;

/// A program that can be put into containers.
#[derive(Clone)]
pub(super) struct Program {
    pub(super) bytes: Bytes,
    pub(super) digest: Arc<str>,
    /// Whether the volume is known to hold it.
    pub(super) installed: Arc<Mutex<bool>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Volume {
    name: String,
    #[serde(default)]
    labels: Option<std::collections::BTreeMap<String, String>>,
    /// Podman gives a fresh volume's directory to the first container that has to do with it, with the mode that the
    /// image's directory of that name has: to be over before a tenant's container is that one.
    #[serde(default)]
    pub(super) needs_chown: bool,
}

impl Volume {
    pub(super) fn is_labelled(&self, installation: &str) -> bool {
        self.labels.as_ref().and_then(|labels| labels.get(INSTALLATION)).is_some_and(|label| label == installation)
    }
}

impl Program {
    /// Reads it. An error says why it is of no use.
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
        if bytes.len() > MOST {
            return Err(format!("it has more than {MOST} bytes"));
        }
        match is_static(&bytes) {
            Some(true) => {}
            Some(false) => return Err("it is not static, so most images could not run it".into()),
            None => return Err("it is no program".into()),
        }
        let digest = hex(&Sha256::digest(&bytes));
        Ok(Self { bytes: bytes.into(), digest: digest.into(), installed: Arc::default() })
    }

    fn volume(&self, installation: &str) -> String {
        format!("{PREFIX}{installation}.{}", &self.digest[..16])
    }
}

/// Whether an ELF file of 64 bits, least byte first, asks for no loader; none if it is something else.
fn is_static(elf: &[u8]) -> Option<bool> {
    const LOADER: u32 = 3;
    let short = |at: usize| Some(u16::from_le_bytes(elf.get(at..at + 2)?.try_into().ok()?));
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let headers = usize::try_from(u64::from_le_bytes(elf.get(32..40)?.try_into().ok()?)).ok()?;
    let (size, count) = (usize::from(short(54)?), usize::from(short(56)?));
    let kind = |index: usize| {
        let at = headers.checked_add(index.checked_mul(size)?)?;
        Some(u32::from_le_bytes(elf.get(at..at.checked_add(4)?)?.try_into().ok()?))
    };
    let kinds: Option<Vec<u32>> = (0..count).map(kind).collect();
    Some(!kinds?.contains(&LOADER))
}

impl Engine {
    /// The version of the agent that new containers get; none if they get none.
    pub fn agent_version(&self) -> Option<u8> {
        self.agent.as_ref().map(|_| protocol::VERSION)
    }

    /// Whether the container was made with an agent that speaks as we do.
    pub(super) fn has_agent(&self, grant: &ContainerGrant) -> bool {
        grant.row().agent == i64::from(protocol::VERSION)
    }

    /// Waits until nobody fills the volume, through a container that is in use then.
    pub async fn await_agent(&self) {
        if let Some(program) = &self.agent {
            let _ = program.installed.lock().await;
        }
    }

    /// The volume for a container that is about to be made, with the program in it; none without a program. The first
    /// call fills it, and all others wait for that.
    pub async fn agent_volume(
        &self,
        grant: &CreateGrant,
        installer: Installer,
        deadline: Deadline,
    ) -> Result<Option<String>> {
        let Some(program) = &self.agent else { return Ok(None) };
        let volume = program.volume(&installer.installation);
        let install = Installation {
            engine: self.clone(),
            program: program.clone(),
            volume: volume.clone(),
            tenant: grant.tenant().clone(),
            installer,
        };
        // Begun is finished: whoever stops waiting leaves no container behind.
        let prepare = tokio::spawn(async move { install.prepare().await });
        deadline.bound(async { prepare.await.map_err(Error::internal)? }).await?;
        Ok(Some(volume))
    }

    /// Takes away volumes with programs that no container has and that new ones would not get.
    pub async fn remove_old_agents(&self, _grant: &SystemGrant, installation: &str) -> Result<usize> {
        let current = self.agent.as_ref().map(|program| program.volume(installation));
        let path = format!("/v4.0.0/libpod/volumes/json?filters={}", own_label(installation)?);
        let ask = async { self.wire.get(&path).await?.checked()?.json::<Option<Vec<Volume>>>() };
        let found = self.deadline().bound(ask).await?.unwrap_or_default();
        let old = found.iter().filter(|one| one.name.starts_with(PREFIX) && current.as_ref() != Some(&one.name));
        let mut gone = 0;
        for Volume { name, .. } in old {
            gone += usize::from(self.deadline().bound(self.remove_unused(name)).await?);
        }
        Ok(gone)
    }

    /// Takes the volume away; false if a container has it.
    pub(super) async fn remove_unused(&self, volume: &str) -> Result<bool> {
        match self.podman.volumes().get(volume).delete().await.map_err(failure::of_client) {
            Ok(()) => Ok(true),
            Err(error) if matches!(error.kind, Kind::Conflict | Kind::NotFound) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// Who installs it.
#[derive(Debug, Clone)]
pub struct Installer {
    /// Whose volume it is.
    pub installation: String,
    /// Which of its gateways.
    pub gateway: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_static_programs_are_taken() {
        let elf = |kind: u8| {
            let mut elf = vec![0; 64 + 56];
            elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
            (elf[32], elf[54], elf[56], elf[64]) = (64, 56, 1, kind);
            elf
        };
        assert_eq!(is_static(&elf(1)), Some(true));
        assert_eq!(is_static(&elf(3)), Some(false));
        assert_eq!(is_static(b"#!/bin/sh\n"), None);
        assert_eq!(is_static(&elf(1)[..70]), Some(true), "its first header is all there");
        assert_eq!(is_static(&elf(1)[..66]), None);
    }
}
