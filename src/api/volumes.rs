//! Volumes of the caller's tenant.

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, ContainersRead, Volumes as VolumesScope};
use super::json::Strict;
use super::model::answer;
use super::{Context, Tag};
use crate::domain::{Details, VolumeName, timestamp_ms};
use crate::store::Volume;

pub struct Volumes(pub Context);

/// The volume to make.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CreateVolumeRequest {
    /// Name within the tenant: letters, digits, `_`, `.` and `-`, at most 63.
    name: String,
}

impl Example for CreateVolumeRequest {
    fn example() -> Self {
        Self { name: "data".into() }
    }
}

/// A volume.
#[derive(Object)]
struct VolumeItem {
    /// Name within the tenant.
    name: String,
    /// When it was created, RFC 3339.
    created: String,
}

/// A volume that is gone.
#[derive(Object)]
struct VolumeRemoved {
    /// Name it had within the tenant.
    name: String,
    /// Always true.
    removed: bool,
}

answer! {
    /// The new volume.
    VolumeResponse { volume: VolumeItem }
    example VolumeItem { name: "data".into(), created: "2025-01-19T15:47:19.123000Z".into() }
}
answer! {
    /// The tenant's volumes.
    VolumeListResponse { volumes: Vec<VolumeItem> }
    example vec![VolumeItem { name: "data".into(), created: "2025-01-19T15:47:19.123000Z".into() }]
}
answer! {
    /// The volume is gone.
    VolumeRemovedResponse { volume: VolumeRemoved }
    example VolumeRemoved { name: "data".into(), removed: true }
}

impl From<Volume> for VolumeItem {
    fn from(volume: Volume) -> Self {
        Self { name: volume.name.to_string(), created: timestamp_ms(volume.created_ms) }
    }
}

#[OpenApi(tag = "Tag::Volumes")]
impl Volumes {
    /// Create a volume
    ///
    /// Makes an empty volume that containers of the tenant can mount.
    #[oai(path = "/volumes", method = "post", operation_id = "createVolume")]
    async fn create(
        &self,
        who: Caller<VolumesScope>,
        body: Strict<CreateVolumeRequest>,
    ) -> poem::Result<Json<VolumeResponse>> {
        let mut wrong = Details::default();
        let name = wrong.take("name", VolumeName::parse(&body.0.name));
        let Some(name) = name else { return Err(wrong.into_error().into()) };
        let grant = self.0.policy.create_volume(who.principal(), who.scope(), &name).await?;
        Ok(VolumeResponse::of(self.0.lifecycle.create_volume(grant, name, who.attempt().cloned()).await?.into()))
    }

    /// List volumes
    ///
    /// All volumes of the caller's tenant, by name.
    #[oai(path = "/volumes", method = "get", operation_id = "listVolumes")]
    async fn list(&self, who: Caller<ContainersRead>) -> poem::Result<Json<VolumeListResponse>> {
        let volumes = self.0.policy.volumes(who.principal(), who.scope()).await?;
        Ok(VolumeListResponse::of(volumes.into_iter().map(VolumeItem::from).collect()))
    }

    /// Remove a volume
    ///
    /// With everything in it. A conflict while a container has it.
    #[oai(path = "/volumes/:name", method = "delete", operation_id = "removeVolume")]
    async fn remove(
        &self,
        who: Caller<VolumesScope>,
        /// The volume's name.
        name: Path<String>,
    ) -> poem::Result<Json<VolumeRemovedResponse>> {
        let grant = self.0.policy.remove_volume(who.principal(), who.scope(), &name).await?;
        let name = grant.row().name.to_string();
        self.0.lifecycle.remove_volume(grant).await?;
        Ok(VolumeRemovedResponse::of(VolumeRemoved { name, removed: true }))
    }
}
