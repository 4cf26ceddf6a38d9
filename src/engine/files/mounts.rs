//! What a visitor has mounted. Paths and ids are what Podman says of a container that we made.

use serde::Deserialize;
use serde_json::{Value, json};

use super::visitor::TREE;
use crate::domain::Result;
use crate::engine::ids::{HostConfig, IdMap};
use crate::engine::spec::volume_id;
use crate::engine::{Deadline, Engine, agent};
use crate::policy::grant::ContainerGrant;

/// In a visitor that measures: what the container wrote over its image. Its volumes stand beside it under their names.
pub(super) const LAYER: &str = "layer";

/// In a visitor that looks: the container's root with nothing mounted in it. What is mounted stands beside it.
pub(super) const ROOT: &str = "root";

/// Of what is looked at.
const LOOKED_AT: [&str; 5] = ["rbind", "ro", "nosuid", "nodev", "rprivate"];

/// As Podman's create takes them.
#[derive(Default)]
pub(super) struct Mounts {
    pub(super) binds: Vec<Value>,
    pub(super) volumes: Vec<Value>,
    /// The user namespace: maps of users and of groups.
    pub(super) ids: Option<(Vec<IdMap>, Vec<IdMap>)>,
}

#[derive(Deserialize)]
pub(super) struct Inspected {
    #[serde(rename = "HostConfig")]
    host_config: HostConfig,
    #[serde(rename = "Mounts", default)]
    mounts: Option<Vec<Mounted>>,
    #[serde(rename = "State")]
    state: State,
    #[serde(rename = "GraphDriver", default)]
    driver: Driver,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase")]
struct Driver {
    #[serde(default)]
    data: Option<Layers>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Layers {
    /// What was written over the image; overlay's only.
    #[serde(default)]
    upper_dir: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mounted {
    #[serde(rename = "Type")]
    kind: String,
    #[serde(default)]
    name: String,
    source: String,
    destination: String,
    #[serde(default)]
    options: Vec<String>,
    #[serde(rename = "RW", default)]
    writable: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default)]
    started_at: String,
}

impl Engine {
    /// Where the container has what on the disk.
    pub(super) async fn inspect_disk(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Inspected> {
        let path = format!("/v4.0.0/libpod/containers/{}/json", grant.engine_id());
        let look = async { self.wire.get(&path).await?.checked()?.json::<Inspected>() };
        self.on(grant, deadline, look).await
    }
}

impl Inspected {
    /// The root that Podman mounted, and all that the container has mounted in it, to be changed or only looked at.
    pub(super) fn as_seen_inside(&self, root: &str, changes: bool) -> Mounts {
        let bind = ["rbind", "rw", "nosuid", "nodev", "rprivate"];
        let mut mounts = Mounts { ids: self.ids(), ..Mounts::default() };
        mounts.binds.push(json!({"type": "bind", "source": root, "destination": TREE, "options": bind}));
        // Podman says year 1 of what never was.
        let never_started = self.state.started_at.is_empty() || self.state.started_at.starts_with("0001-");
        for mounted in self.tenants() {
            let destination = format!("{TREE}{}", mounted.destination);
            if mounted.kind == "volume" && mounted.writable && never_started && changes {
                // A fresh volume is nobody's in the container until Podman gives it to whoever mounts it first, on 4.3.1 for
                // good: so whoever only looks does not. What the image has there is left for the container itself.
                mounts.volumes.push(json!({"Name": mounted.name, "Dest": destination, "Options": ["nocopy"]}));
                continue;
            }
            let mut options: Vec<&str> = vec!["rbind", "nosuid", "nodev", "rprivate"];
            options.push(if mounted.writable { "rw" } else { "ro" });
            options.extend(mounted.options.iter().map(String::as_str).filter(|option| *option == "idmap"));
            mounts.binds.push(json!({
                "type": "bind", "source": mounted.source, "destination": destination, "options": options,
            }));
        }
        mounts
    }

    /// What the container wrote over its image, and its volumes by our identifier, each in a directory of that name, not
    /// to be written. With these names.
    pub(super) fn as_on_the_disk(&self) -> (Mounts, Vec<&str>) {
        let layer = self.driver.data.as_ref().and_then(|data| data.upper_dir.as_deref()).map(|path| (LAYER, path));
        let volumes = self.tenants().filter(|mounted| mounted.kind == "volume");
        let volumes = volumes.filter_map(|mounted| Some((volume_id(&mounted.name)?, mounted.source.as_str())));
        let all: Vec<(&str, &str)> = layer.into_iter().chain(volumes).collect();
        let bind = |(name, source): &(&str, &str)| json!({"type": "bind", "source": source, "destination": format!("{TREE}/{name}"), "options": LOOKED_AT});
        let mounts = Mounts { binds: all.iter().map(bind).collect(), volumes: Vec::new(), ids: self.ids() };
        (mounts, all.into_iter().map(|(name, _)| name).collect())
    }

    /// Whether anything is mounted besides what every container has.
    pub(super) fn has_mounts(&self) -> bool {
        self.tenants().next().is_some()
    }

    /// The root and each thing that is mounted in it beside it, none to be written. With where each belongs, and its name.
    pub(super) fn apart(&self, root: &str) -> (Mounts, Vec<(String, String)>) {
        let bind = |name: &str, source: &str| json!({"type": "bind", "source": source, "destination": format!("{TREE}/{name}"), "options": LOOKED_AT});
        let mut mounts = Mounts { binds: vec![bind(ROOT, root)], volumes: Vec::new(), ids: self.ids() };
        let mut places = Vec::new();
        for (nth, mounted) in self.tenants().enumerate() {
            let name = format!("m{nth}");
            mounts.binds.push(bind(&name, &mounted.source));
            places.push((mounted.destination.clone(), name));
        }
        (mounts, places)
    }

    fn tenants(&self) -> impl Iterator<Item = &Mounted> {
        self.mounts.iter().flatten().filter(|mounted| mounted.destination != agent::DIRECTORY)
    }

    fn ids(&self) -> Option<(Vec<IdMap>, Vec<IdMap>)> {
        let (users, groups) = (self.host_config.users(), self.host_config.groups());
        (!users.is_empty()).then_some((users, groups))
    }
}
