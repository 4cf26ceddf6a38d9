//! Images on the host.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Deadline, Engine, failure};
use crate::domain::Result;
use crate::policy::grant::ImageGrant;

/// What an image says of itself.
#[derive(Debug, Clone)]
pub struct Image {
    /// 64 hex digits.
    pub id: String,
    /// Its WORKDIR, `/` if it has none.
    pub workdir: String,
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Config", default)]
    config: Option<InspectedConfig>,
}

#[derive(Deserialize)]
struct InspectedConfig {
    #[serde(rename = "WorkingDir", default)]
    working_dir: String,
}

impl Engine {
    /// The image that was granted. `NotFound` if the host does not have it.
    ///
    /// The reference in the URL is the administrator's text from the allow-list, not the request's.
    pub async fn image(&self, grant: &ImageGrant, deadline: Deadline) -> Result<Image> {
        let reference = utf8_percent_encode(grant.reference().as_str(), NON_ALPHANUMERIC);
        let path = format!("/v4.0.0/libpod/images/{reference}/json");
        let answer = self.short(grant.tenant(), deadline, self.wire.get(&path)).await?.checked()?;
        let found: Inspected = answer.json()?;
        if found.id.len() != 64 || !found.id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(failure::unreadable("an image without a full id"));
        }
        let workdir = found.config.map(|config| config.working_dir).filter(|dir| dir.starts_with('/'));
        Ok(Image { id: found.id, workdir: workdir.unwrap_or_else(|| "/".into()) })
    }
}
