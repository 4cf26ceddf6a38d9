//! The files by which Podman knows who is who in a container, looked at before Podman reads them.
//!
//! Podman reads `/etc/passwd` and `/etc/group` whenever it starts a container or a process in one, and a line of any length
//! as a whole, at three to four bytes of memory for each. A sparse file costs its tenant nothing and Podman gigabytes
//! (docs/decisions/0029). Podman looks into the container's root as it lies on the disk, where nothing is mounted; we are
//! shown what the container sees. So no link of theirs may lead to where something is mounted over what Podman would read.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;

use super::files::{Stat, archive_url};
use super::{Deadline, Engine};
use crate::domain::{Error, Kind, Result};
use crate::policy::grant::ContainerGrant;

const DIRECTORY: &str = "/etc";
const FILES: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// Most bytes of one. Real ones have a few thousand; of a line of two bytes Podman keeps some two hundred.
const MOST: i64 = 256 * 1024;

/// Names of what every container has mounted. What is mounted on cannot be renamed, whatever becomes of the directories
/// above, so the names stay.
const MOUNTED: &[&str] =
    &["proc", "sys", "dev", "shm", ".podgate", "hosts", "resolv.conf", "hostname", ".containerenv", "secrets"];

/// Images whose files were found small and no links: what a container is at its first start, if it starts at once.
#[derive(Clone, Default)]
pub(super) struct GoodImages(Arc<Mutex<HashSet<String>>>);

/// Most images that are remembered.
const MOST_IMAGES: usize = 10_000;

impl GoodImages {
    pub(super) fn has(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }

    pub(super) fn learn(&self, id: &str) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_IMAGES {
            known.clear();
        }
        known.insert(id.to_owned());
    }
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "Mounts", default)]
    mounts: Option<Vec<Mounted>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mounted {
    destination: String,
}

impl Engine {
    /// `Conflict` where Podman would read more than it should. Whether no link is among the files.
    pub(super) async fn check_account_files(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<bool> {
        let look = |path| self.look_at(grant, path, deadline);
        let [passwd, group] = FILES;
        let found = tokio::try_join!(look(DIRECTORY), look(passwd), look(group))?;
        let mut plain = true;
        for (path, found) in [(DIRECTORY, found.0), (passwd, found.1), (group, found.2)] {
            let Some(mut found) = found else { continue };
            if found.is_link() {
                plain = false;
                self.check_link(grant, path, &found.link_target, deadline).await?;
                let Some(end) = self.look_at(grant, &found.link_target, deadline).await? else { continue };
                if end.is_link() {
                    return Err(refused(path, "keeps changing"));
                }
                found = end;
            }
            if FILES.contains(&path) && found.is_device() {
                return Err(refused(path, "is a device, which Podman would read; put a file there"));
            }
            if FILES.contains(&path) && found.size > MOST {
                return Err(refused(path, "has more than 256 KiB, which Podman would read; make it smaller"));
            }
        }
        Ok(plain)
    }

    /// `Conflict` where something may be mounted on the way to what a link leads to.
    async fn check_link(&self, grant: &ContainerGrant, path: &str, target: &str, deadline: Deadline) -> Result<()> {
        let url = format!("/v4.0.0/libpod/containers/{}/json", grant.engine_id());
        let ask = async { self.wire.get(&url).await?.checked()?.json::<Inspected>() };
        let mounts = deadline.bound(ask).await?.mounts.unwrap_or_default();
        let names = mounts.iter().filter_map(|mounted| mounted.destination.rsplit('/').next());
        let names: HashSet<&str> = names.chain(MOUNTED.iter().copied()).collect();
        match target.split('/').any(|name| names.contains(name)) {
            true => Err(refused(path, "is a link to where something may be mounted; put a file there")),
            false => Ok(()),
        }
    }

    /// What stands at a path, with where it leads; none if nothing does.
    async fn look_at(&self, grant: &ContainerGrant, path: &str, deadline: Deadline) -> Result<Option<Stat>> {
        let answer = deadline.bound(self.wire.head(&archive_url(grant, path))).await;
        self.learn(grant.engine_id(), &answer);
        let answer = answer?;
        if answer.status == hyper::StatusCode::NOT_FOUND {
            // A link that leads nowhere is told of all the same.
            return Ok(Stat::of(&answer.headers).ok());
        }
        Stat::of(&answer.checked()?.headers).map(Some)
    }
}

fn refused(path: &str, why: &str) -> Error {
    Error::new(Kind::Conflict, format!("the container's {path} {why}"))
}
