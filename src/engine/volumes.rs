//! Named volumes.

use podman_api::opts::VolumeCreateOpts;

use super::spec::{INSTALLATION, volume_name};
use super::{Deadline, Engine, failure};
use crate::domain::{Kind, Result};
use crate::policy::grant::VolumeGrant;

impl Engine {
    /// Makes the volume; fine if it exists.
    pub async fn create_volume(&self, grant: &VolumeGrant, installation: &str, deadline: Deadline) -> Result<()> {
        let opts = VolumeCreateOpts::builder()
            .name(volume_name(grant.id()))
            .driver("local")
            .labels([(INSTALLATION, installation)])
            .build();
        let volumes = self.podman.volumes();
        let call = async {
            match volumes.create(&opts).await.map(drop).map_err(failure::of_client) {
                Err(error) if error.kind == Kind::Exists => Ok(()),
                other => other,
            }
        };
        self.short(grant.tenant(), deadline, call).await
    }

    /// Takes the volume away with what is in it; fine if it is gone. `Conflict` while a container has it.
    pub async fn remove_volume(&self, grant: &VolumeGrant, deadline: Deadline) -> Result<()> {
        let volume = self.podman.volumes().get(volume_name(grant.id()));
        let call = async {
            match volume.delete().await.map_err(failure::of_client) {
                Err(error) if error.kind == Kind::NotFound => Ok(()),
                other => other,
            }
        };
        self.short(grant.tenant(), deadline, call).await
    }
}
