//! Images on the host.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::annotations::order_of_image;
use super::create::gives_orders;
use super::spec::is_own_label;
use super::{Deadline, Engine, failure};
use crate::domain::{Directory, Error, ImageRef, Kind, Result};
use crate::policy::grant::{ImageGrant, TenantGrant};

/// What an image says of itself.
#[derive(Debug, Clone)]
pub struct Image {
    /// 64 hex digits.
    pub id: String,
    /// Its WORKDIR, `/` if it has none.
    pub workdir: Directory,
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "Id")]
    id: String,
    #[serde(rename = "Config", default)]
    config: Option<Box<RawValue>>,
    #[serde(rename = "Annotations", default)]
    annotations: Option<Box<RawValue>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct InspectedConfig {
    #[serde(default)]
    working_dir: String,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    labels: Option<BTreeMap<String, String>>,
}

/// Most bytes of an image's configuration and annotations, as Podman writes them. It writes labels into each event, as a
/// line; a reader of Podman 5's that sees half of a long one ends the service (docs/decisions/0024). The rest is in its
/// database and each of its answers, and a WORKDIR is made name by name.
const MOST_TEXT: usize = 64 * 1024;

impl Inspected {
    /// The image, or `Refused` and `Forbidden` where a container of it would be more than its tenant's.
    fn admitted(self) -> Result<Image> {
        let refused = |message: String| Error::new(Kind::Refused, message);
        let texts = [self.config, self.annotations];
        if texts.iter().flatten().map(|text| text.get().len()).sum::<usize>() > MOST_TEXT {
            let message = "the image's configuration (labels, environment, command and all else) and annotations have more than 64 KiB";
            return Err(refused(message.into()));
        }
        let [config, annotations] = &texts;
        let config: InspectedConfig = read(config.as_deref())?;
        if config.env.into_iter().flatten().any(|one| !one.contains('=')) {
            return Err(Error::new(Kind::Forbidden, "the image asks for the environment of Podman's service"));
        }
        if let Some(order) = order_of_image(&read(annotations.as_deref())?) {
            return Err(gives_orders(order));
        }
        if config.labels.iter().flat_map(BTreeMap::keys).any(|label| is_own_label(label)) {
            return Err(refused("the image has labels under \"io.podgate.\", which are the gateway's own".into()));
        }
        let workdir = Directory::parse(&tidy(&config.working_dir))
            .map_err(|wrong| refused(format!("the image's WORKDIR cannot be used: {wrong}")))?;
        Ok(Image { id: self.id, workdir })
    }
}

fn read<T: DeserializeOwned + Default>(text: Option<&RawValue>) -> Result<T> {
    let read = text.map(|text| serde_json::from_str::<Option<T>>(text.get()));
    Ok(read.transpose().map_err(failure::unreadable)?.flatten().unwrap_or_default())
}

/// Without what builders leave in and what means nothing: a slash at the end or twice, and `.` for a name.
fn tidy(workdir: &str) -> String {
    if !workdir.is_empty() && !workdir.starts_with('/') {
        return workdir.to_owned();
    }
    let names: Vec<&str> = workdir.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    format!("/{}", names.join("/"))
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
        match self.inspect_image(grant, self.deadline()).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind == Kind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The image that was granted. `NotFound` if the host does not have it, `Refused` or `Forbidden` where it may not be used.
    pub async fn image(&self, grant: &ImageGrant, deadline: Deadline) -> Result<Image> {
        self.inspect_image(grant, deadline).await?.admitted()
    }

    /// The reference in the URL is one that the tenant's list allows, and holds nothing but its letters.
    async fn inspect_image(&self, grant: &ImageGrant, deadline: Deadline) -> Result<Inspected> {
        let reference = utf8_percent_encode(grant.reference().as_str(), NON_ALPHANUMERIC);
        let path = format!("/v4.0.0/libpod/images/{reference}/json");
        let answer = self.short(grant.tenant(), deadline, self.wire.get(&path)).await?.checked()?;
        let found: Inspected = answer.json()?;
        if found.id.len() != 64 || !found.id.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(failure::unreadable("an image without a full id"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn admitted(config: &Value, annotations: &Value) -> Result<String, String> {
        let found = json!({"Id": "a", "Config": config, "Annotations": annotations});
        let found: Inspected = serde_json::from_str(&found.to_string()).unwrap();
        found.admitted().map(|image| image.workdir.as_str().to_owned()).map_err(|error| error.message.to_string())
    }

    #[test]
    fn a_workdir_is_a_plain_path() {
        let workdir = |text: &str| admitted(&json!({"WorkingDir": text}), &Value::Null);
        for (text, dir) in [("", "/"), ("/", "/"), ("/app/", "/app"), ("//a/./b", "/a/b")] {
            assert_eq!(workdir(text).as_deref(), Ok(dir));
        }
        for bad in ["app", "/a/../b", "/a\nb", &format!("/{}", "x".repeat(256)), &"/x".repeat(2048)] {
            assert!(workdir(bad).unwrap_err().contains("WORKDIR"), "{bad}");
        }
        assert_eq!(admitted(&Value::Null, &Value::Null).as_deref(), Ok("/"));
    }

    #[test]
    fn whatever_is_long_is_refused() {
        let long = "x".repeat(MOST_TEXT);
        let ports: BTreeMap<String, Value> = (1..6000).map(|port| (format!("{port}/tcp"), json!({}))).collect();
        for config in [json!({"User": long}), json!({"Volumes": {&long: {}}}), json!({"ExposedPorts": ports})] {
            assert!(admitted(&config, &Value::Null).unwrap_err().contains("64 KiB"));
        }
        let half = "x".repeat(MOST_TEXT / 2);
        assert!(admitted(&json!({"User": half}), &json!({"a": half})).unwrap_err().contains("64 KiB"));
        assert!(admitted(&json!({"User": half}), &json!({"a": "b"})).is_ok());
    }

    #[test]
    fn our_labels_are_ours() {
        let label = |name: &str| admitted(&json!({"Labels": {name: "x.y"}}), &Value::Null);
        assert!(label("io.podgate.visitor").unwrap_err().contains("io.podgate."));
        assert!(label("io.podgate").is_ok() && label("io.podgated.x").is_ok());
    }
}
