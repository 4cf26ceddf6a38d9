//! Images on the host.

use std::collections::BTreeSet;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Deadline, Engine, failure};
use crate::domain::{ImageRef, Kind, Result};
use crate::policy::grant::{ImageGrant, TenantGrant};

/// What an image says of itself.
#[derive(Debug, Clone)]
pub struct Image {
    /// 64 hex digits.
    pub id: String,
    /// Its WORKDIR, `/` if it has none.
    pub workdir: String,
    /// Whether its ENV has what Podman fills from its own service's environment (CVE-2026-57231).
    pub is_greedy: bool,
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Config", default)]
    config: Option<InspectedConfig>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default)]
    working_dir: String,
    #[serde(default)]
    env: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

impl Engine {
    /// Every reference under which the host has an image, whoever may use it.
    pub async fn images_on_host(&self, grant: &TenantGrant, deadline: Deadline) -> Result<BTreeSet<ImageRef>> {
        let ask = self.wire.get("/v4.0.0/libpod/images/json");
        let images: Vec<Listed> = self.short(grant.tenant(), deadline, ask).await?.checked()?.json()?;
        let names = images.into_iter().flat_map(|image| [image.repo_tags, image.repo_digests]).flatten().flatten();
        Ok(names.filter_map(|name| ImageRef::parse(&name).ok()).collect())
    }

    /// Whether the host has the image that was granted.
    pub async fn has_image(&self, grant: &ImageGrant) -> Result<bool> {
        match self.image(grant, self.deadline()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The image that was granted. `NotFound` if the host does not have it.
    ///
    /// The reference in the URL is one that the tenant's list allows, and holds nothing but its letters.
    pub async fn image(&self, grant: &ImageGrant, deadline: Deadline) -> Result<Image> {
        let reference = utf8_percent_encode(grant.reference().as_str(), NON_ALPHANUMERIC);
        let path = format!("/v4.0.0/libpod/images/{reference}/json");
        let answer = self.short(grant.tenant(), deadline, self.wire.get(&path)).await?.checked()?;
        let found: Inspected = answer.json()?;
        if found.id.len() != 64 || !found.id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(failure::unreadable("an image without a full id"));
        }
        let InspectedConfig { working_dir, env } = found.config.unwrap_or_default();
        let workdir = Some(working_dir).filter(|dir| dir.starts_with('/')).unwrap_or_else(|| "/".into());
        let is_greedy = env.into_iter().flatten().any(|one| !one.contains('='));
        Ok(Image { id: found.id, workdir, is_greedy })
    }
}
