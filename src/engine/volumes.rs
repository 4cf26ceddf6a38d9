//! Named volumes.

use podman_api::opts::VolumeCreateOpts;
use serde::Deserialize;

use super::spec::{INSTALLATION, own_label, volume_id, volume_name};
use super::{Deadline, Engine, failure};
use crate::domain::{Kind, Result};
use crate::policy::grant::{Audited, SystemGrant, VolumeGrant};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    name: String,
}

impl Engine {
    /// Makes the volume; fine if it exists.
    pub async fn create_volume(
        &self,
        grant: &Audited<VolumeGrant>,
        installation: &str,
        deadline: Deadline,
    ) -> Result<()> {
        let opts = VolumeCreateOpts::builder()
            .name(volume_name(grant.id()))
            .driver("local")
            .labels([(INSTALLATION, installation)])
            .build();
        let volumes = self.podman.volumes();
        let call = async {
            let create = async { volumes.create(&opts).await.map(drop).map_err(failure::of_client) };
            match self.timed("POST volumes/create", create).await {
                Err(error) if error.kind == Kind::Exists => Ok(()),
                other => other,
            }
        };
        self.short(grant.tenant(), deadline, call).await
    }

    /// The volumes that carry this installation's label, by our identifier.
    pub async fn own_volumes(&self, _grant: &SystemGrant, installation: &str) -> Result<Vec<String>> {
        let path = format!("/v4.0.0/libpod/volumes/json?filters={}", own_label(installation)?);
        let ask = async { self.wire.get(&path).await?.checked()?.json::<Option<Vec<Listed>>>() };
        let found = self.deadline().bound(ask).await?.unwrap_or_default();
        Ok(found.into_iter().filter_map(|one| volume_id(&one.name).map(str::to_owned)).collect())
    }

    /// Takes away a volume that no row owns. `Conflict` while a container has it.
    pub async fn remove_own_volume(&self, _grant: &Audited<SystemGrant>, id: &str) -> Result<()> {
        self.deadline().bound(self.delete_volume(id)).await
    }

    /// Takes the volume away with what is in it; fine if it is gone. `Conflict` while a container has it.
    pub async fn remove_volume(&self, grant: &Audited<VolumeGrant>, deadline: Deadline) -> Result<()> {
        let removed = self.short(grant.tenant(), deadline, self.delete_volume(grant.id())).await;
        removed.or_else(|error| if error.kind == Kind::NotFound { Ok(()) } else { Err(error) })
    }

    async fn delete_volume(&self, id: &str) -> Result<()> {
        let volume = self.podman.volumes().get(volume_name(id));
        let delete = async { volume.delete().await.map_err(failure::of_client) };
        self.timed("DELETE volumes/{id}", delete).await
    }
}
