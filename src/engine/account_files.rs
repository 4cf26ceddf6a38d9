//! The files by which Podman knows who is who in a container, looked at before Podman reads them.
//!
//! Podman reads `/etc/passwd` and `/etc/group` whenever it starts a container or a process in one, and a line of any length
//! as a whole, at three to four bytes of memory for each. A sparse file costs its tenant nothing and Podman gigabytes
//! (docs/decisions/0029). Podman looks into the container's root as it lies on the disk, where nothing is mounted; its own
//! looks show what the container sees. So where a link is among them, a visitor goes and looks at the disk.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::files::{Disk, Stat, archive_url};
use super::{Deadline, Engine};
use crate::domain::{Error, Kind, Result};
use crate::policy::grant::ContainerGrant;

const DIRECTORY: &str = "/etc";
const FILES: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// Most bytes of one. Real ones have a few thousand; of a line of two bytes Podman keeps some two hundred.
const MOST: u64 = 256 * 1024;

/// Images whose files were found small and no links, each with where something was mounted: what a container is at its
/// first start, if it starts at once.
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

impl Engine {
    /// Before a container starts: `Conflict` where Podman would read more than it should, or something would be mounted
    /// elsewhere than where it was asked to. Whether all of it is told by the image.
    pub(super) async fn check_start(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<bool> {
        // What is mounted hides links from Podman's looks.
        if let Some(mut disk) = self.disk_beneath_mounts(grant, deadline).await? {
            check_on_disk(&mut disk).await?;
            return disk.check_targets().await;
        }
        self.check_account_files(grant, deadline).await
    }

    /// `Conflict` where Podman would read more than it should. Whether no link is among the files.
    pub(super) async fn check_account_files(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<bool> {
        let look = |path| self.look_at(grant, path, deadline);
        let [passwd, group] = FILES;
        let (directory, passwd, group) = tokio::try_join!(look(DIRECTORY), look(passwd), look(group))?;
        if [&directory, &passwd, &group].into_iter().flatten().any(Stat::is_link) {
            check_on_disk(&mut self.disk(grant, deadline).await?).await?;
            return Ok(false);
        }
        for (path, found) in FILES.into_iter().zip([passwd, group]) {
            if let Some(found) = found {
                check(path, found.is_device(), found.size.unsigned_abs())?;
            }
        }
        Ok(true)
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
        if answer.status == hyper::StatusCode::INTERNAL_SERVER_ERROR {
            // Of a link in a circle, without a word.
            return Err(Error::new(
                Kind::Conflict,
                format!("the container's {path} cannot be looked at; put a file there"),
            ));
        }
        Stat::of(&answer.checked()?.headers).map(Some)
    }
}

async fn check_on_disk(disk: &mut Disk) -> Result<()> {
    for path in FILES {
        if let Some((is_device, size)) = disk.end_of(path).await? {
            check(path, is_device, size)?;
        }
    }
    Ok(())
}

fn check(path: &str, is_device: bool, size: u64) -> Result<()> {
    let refused = |why: &str| Err(Error::new(Kind::Conflict, format!("the container's {path} {why}")));
    if is_device {
        return refused("is a device, which Podman would read; put a file there");
    }
    if size > MOST {
        return refused("has more than 256 KiB, which Podman would read; make it smaller");
    }
    Ok(())
}
