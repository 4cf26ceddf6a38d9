//! What a container and its volumes take on the disk, found out by the agent.
//!
//! Podman's own walk ends with an error at a path longer than 4096 bytes, which everybody in a container can make: its
//! answer is then 0 for the container, and nothing for all volumes of the host. It has no end in time, and no answer for
//! volumes while any container of the host is wedged.

use std::time::Duration;

use podgate_agent::protocol::files::{Ask, Tell};

use super::mounts::LAYER;
use super::talk::nonsense;
use super::visitor::Stay;
use crate::domain::{Measured, Result};
use crate::engine::Engine;
use crate::policy::grant::ContainerGrant;

/// What one container has on the disk.
#[derive(Debug, Default)]
pub struct Survey {
    /// What it wrote over its image; none where Podman's storage does not tell where that is.
    pub layer: Option<Measured>,
    /// Its volumes, by our identifier.
    pub volumes: Vec<(String, Measured)>,
}

impl Engine {
    /// Measures all that the container has on the disk, each thing for as long at most. The visitor belongs to the tenant,
    /// and so does what it costs.
    pub async fn survey(&self, grant: &ContainerGrant, patience: Duration) -> Result<Survey> {
        let deadline = self.deadline();
        let inspected = self.inspect_disk(grant, deadline).await?;
        let (mounts, names) = inspected.as_on_the_disk();
        let mut survey = Survey::default();
        if names.is_empty() {
            return Ok(survey);
        }
        let (mut talk, _stay) = Stay::with(self, grant, &mounts, deadline).await?;
        let within_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        for name in names {
            talk.say(&Ask::Measure { path: format!("/{name}").into(), within_ms }).await?;
            let measured = match talk.hear().await? {
                Tell::Measured(bytes, is_whole) => {
                    Measured { bytes: i64::try_from(bytes).unwrap_or(i64::MAX), is_whole }
                }
                other => return Err(nonsense(&other)),
            };
            match name {
                LAYER => survey.layer = Some(measured),
                volume => survey.volumes.push((volume.to_owned(), measured)),
            }
        }
        Ok(survey)
    }
}
