//! What is on the disk.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

use super::spec::volume_id;
use super::{Deadline, Engine, wedged};
use crate::domain::Result;
use crate::policy::grant::{ContainerGrant, SystemGrant};

/// How long Podman may take to measure all volumes.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    #[serde(default)]
    size_rw: i64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DiskUse {
    #[serde(default)]
    volumes: Option<Vec<VolumeUse>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VolumeUse {
    volume_name: String,
    size: i64,
}

impl Engine {
    /// Bytes of the container's writable layer; 0, which no container that ever ran has, where Podman could not find out.
    /// It walks over its files, and over the image's, with the container locked: to be asked seldom. A missed deadline is
    /// not held against the container.
    pub async fn stored_bytes(&self, grant: &ContainerGrant, patience: Duration) -> Result<i64> {
        if self.wedged.is_marked(grant.engine_id()) {
            return Err(wedged::no_answer());
        }
        let path = format!("/v4.0.0/libpod/containers/{}/json?size=true", grant.engine_id());
        let ask = async { self.wire.get(&path).await?.checked()?.json::<Inspected>() };
        Ok(Deadline::after(patience).bound(ask).await?.size_rw)
    }

    /// Bytes of all volumes of ours, by our identifier. Hangs while any container of the host is wedged, and fails where
    /// any volume of the host has a path that is too long.
    pub async fn volume_sizes(&self, _grant: &SystemGrant) -> Result<HashMap<String, i64>> {
        if self.wedged.any() {
            return Err(wedged::no_answer());
        }
        let ask = async { self.wire.get("/v4.0.0/libpod/system/df").await?.checked()?.json::<DiskUse>() };
        let used = Deadline::after(PATIENCE).bound(ask).await?.volumes.unwrap_or_default();
        let ours = used.into_iter().filter_map(|one| Some((volume_id(&one.volume_name)?.to_owned(), one.size)));
        Ok(ours.collect())
    }
}
