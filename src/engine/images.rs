//! Images on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::annotations::{Annotations, order_of_image};
use super::{Deadline, Engine, failure};
use crate::domain::{Error, ImageRef, Kind, Result};
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
    /// Whether what it says of itself is more than Podman should write into each event and each answer about a container.
    pub is_wordy: bool,
    /// The family of an annotation of it that its runtime or Podman would obey, if it has one.
    pub order: Option<&'static str>,
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Config", default)]
    config: Option<InspectedConfig>,
    #[serde(rename = "Annotations", default)]
    annotations: Option<Annotations>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default)]
    working_dir: String,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    cmd: Option<Vec<String>>,
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Most bytes of an image's labels, annotations, environment and command together. Podman writes labels into each event, as
/// a line; a reader of Podman 5's that sees half of a long one ends the service (docs/decisions/0024).
const MOST_WORDS: usize = 64 * 1024;

impl InspectedConfig {
    fn words(&self) -> usize {
        let lists = [&self.env, &self.cmd, &self.entrypoint].into_iter().flatten().flatten();
        lists.map(String::len).sum::<usize>() + length(self.labels.as_ref())
    }
}

fn length(map: Option<&BTreeMap<String, String>>) -> usize {
    map.into_iter().flatten().map(|(name, value)| name.len() + value.len()).sum()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
}

/// How long a list of the host's images is good.
const MOMENT: Duration = Duration::from_secs(1);

/// The host's images when they were last listed. Who asks meanwhile waits for the answer.
#[derive(Clone, Default)]
pub(super) struct OnHost(Arc<Mutex<Option<Seen>>>);

struct Seen {
    at: Instant,
    images: Arc<BTreeSet<ImageRef>>,
}

impl OnHost {
    /// There may be another one.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

impl Engine {
    /// Every reference under which the host has an image, whoever may use it; as it was a moment ago, for the list costs by
    /// everybody's images.
    pub async fn images_on_host(&self, grant: &TenantGrant, deadline: Deadline) -> Result<Arc<BTreeSet<ImageRef>>> {
        let Some(mut known) = deadline.or_none(self.images.0.lock()).await else {
            return Err(Error::new(Kind::EngineTimeout, "Podman did not answer in time"));
        };
        if let Some(seen) = known.as_ref().filter(|seen| seen.at.elapsed() < MOMENT) {
            return Ok(Arc::clone(&seen.images));
        }
        let ask = self.wire.get("/v4.0.0/libpod/images/json");
        let images: Vec<Listed> = self.short(grant.tenant(), deadline, ask).await?.checked()?.json()?;
        let names = images.into_iter().flat_map(|image| [image.repo_tags, image.repo_digests]).flatten().flatten();
        let images: Arc<BTreeSet<_>> = Arc::new(names.filter_map(|name| ImageRef::parse(&name).ok()).collect());
        *known = Some(Seen { at: Instant::now(), images: Arc::clone(&images) });
        Ok(images)
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
        let config = found.config.unwrap_or_default();
        let is_wordy = config.words() + length(found.annotations.as_ref()) > MOST_WORDS;
        let InspectedConfig { working_dir, env, .. } = config;
        let workdir = Some(working_dir).filter(|dir| dir.starts_with('/')).unwrap_or_else(|| "/".into());
        let is_greedy = env.into_iter().flatten().any(|one| !one.contains('='));
        let order = found.annotations.as_ref().and_then(order_of_image);
        Ok(Image { id: found.id, workdir, is_greedy, is_wordy, order })
    }
}
