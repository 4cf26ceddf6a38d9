//! What lies on the disk of a container, looked at through a visitor with nothing mounted over it: as Podman sees it, and as
//! the runtime does that is about to mount.
//!
//! Podman's own looks do not tell it. Of a running container they show what its processes see; of a stopped one, links
//! followed to what would be mounted; and of a link that leads to another, only the end (docs/decisions/0032).

use std::collections::VecDeque;

use podgate_agent::protocol::files::{Ask, Info, Kind as What, Tell};

use super::mounts::{Inspected, ROOT};
use super::talk::{Talk, nonsense};
use super::visitor::Stay;
use crate::domain::{Error, Kind, MountTarget, Result};
use crate::engine::{Deadline, Engine};
use crate::policy::grant::ContainerGrant;

/// As many links as Linux follows.
const MOST_LINKS: u32 = 40;

/// Names that are looked at on one way, with those that links lead through.
const MOST_NAMES: u32 = 1000;

/// A visitor that looks.
pub(in crate::engine) struct Disk {
    talk: Talk,
    deadline: Deadline,
    _stay: Stay,
    /// What the container has mounted besides what Podman gives it, by where, and the visitor's name of it.
    mounts: Vec<(String, String)>,
}

/// Where a way ends.
struct End {
    /// Without links.
    path: String,
    /// None where nothing stands there.
    found: Option<Info>,
}

impl Engine {
    /// Sends one, on behalf of whoever has a lane for heavy calls already.
    pub(in crate::engine) async fn disk(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Disk> {
        let inspected = self.inspect_disk(grant, deadline).await?;
        self.disk_of(grant, &inspected, deadline).await
    }

    /// The same, if the container has anything mounted besides what every container has.
    pub(in crate::engine) async fn disk_beneath_mounts(
        &self,
        grant: &ContainerGrant,
        deadline: Deadline,
    ) -> Result<Option<Disk>> {
        let inspected = self.inspect_disk(grant, deadline).await?;
        if !inspected.has_mounts() {
            return Ok(None);
        }
        self.disk_of(grant, &inspected, deadline).await.map(Some)
    }

    async fn disk_of(&self, grant: &ContainerGrant, inspected: &Inspected, deadline: Deadline) -> Result<Disk> {
        let mounted = self.mounted(grant, deadline).await?;
        let (binds, mounts) = inspected.apart(&mounted.root);
        let (talk, stay) = Stay::in_lane(self, grant, Some(mounted), &binds, deadline).await?;
        Ok(Disk { talk, deadline, _stay: stay, mounts })
    }
}

impl Disk {
    /// What Podman would find at a path: whether it is a device, and how long it is. None for nothing.
    pub(in crate::engine) async fn end_of(&mut self, path: &str) -> Result<Option<(bool, u64)>> {
        let end = self.follow(path, &[], true).await?;
        Ok(end.found.map(|info| (info.kind == What::Device, info.version.size)))
    }

    /// `Conflict` where the runtime would mount elsewhere than where it was asked to. Whether all of it is told by the
    /// image: nothing is mounted in what something else has.
    pub(in crate::engine) async fn check_targets(&mut self) -> Result<bool> {
        let mut mounts = std::mem::take(&mut self.mounts);
        // As Podman has them mounted, those above first.
        mounts.sort_by_key(|(target, _)| target.split('/').count());
        let mut placed: Vec<(String, String)> = Vec::new();
        let mut apart = true;
        for (target, tree) in &mounts {
            let end = self.follow(target, &placed, false).await?;
            let refused = |why: &str| Error::new(Kind::Conflict, format!("what is mounted on {target} {why}"));
            if MountTarget::parse(&end.path).is_err() {
                return Err(refused("would be mounted elsewhere, for a link leads there; make the container anew"));
            }
            for (nth, (above, _)) in placed.iter().enumerate() {
                if is_below(&end.path, above) {
                    apart = false;
                    if !is_below(target, &mounts[nth].0) {
                        return Err(refused(
                            "would be mounted in something else, for a link leads there; make the container anew",
                        ));
                    }
                }
            }
            if placed.iter().any(|(other, _)| is_below(other, &end.path)) {
                return Err(refused(
                    "would be mounted over something else, for a link leads there; make the container anew",
                ));
            }
            placed.push((end.path, tree.clone()));
        }
        self.mounts = mounts;
        Ok(apart)
    }

    /// Goes a way as the kernel would in a root with these mounts, from name to name.
    async fn follow(&mut self, path: &str, mounts: &[(String, String)], last: bool) -> Result<End> {
        let refused = |why: &str| Error::new(Kind::Conflict, format!("the container's {path} {why}"));
        let mut rest: VecDeque<String> = names(path).map(str::to_owned).collect();
        let mut end = End { path: String::new(), found: None };
        let (mut links, mut looks) = (0, 0);
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                let above = end.path.rfind('/').unwrap_or_default();
                end.path.truncate(above);
                continue;
            }
            looks += 1;
            if looks > MOST_NAMES {
                return Err(refused("leads through too many links"));
            }
            let next = format!("{}/{name}", end.path);
            let Some(info) = self.look(&place(&next, mounts)).await? else {
                // The runtime makes what is missing, by these names.
                if rest.iter().any(|name| name == "..") {
                    return Err(refused("leads through a link that leads nowhere"));
                }
                let missing = rest.iter().fold(next, |path, name| format!("{path}/{name}"));
                return Ok(End { path: missing, found: None });
            };
            if info.kind != What::Link {
                end = End { path: next, found: Some(info) };
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(refused("leads in a circle"));
            }
            if rest.is_empty() && !last {
                return Err(refused("is a link, and nothing may be mounted on one; make the container anew"));
            }
            let target = String::from_utf8(info.target).map_err(|_| refused("is a link to no text"))?;
            if target.starts_with('/') {
                end.path.clear();
            }
            for name in names(&target).rev() {
                rest.push_front(name.to_owned());
            }
        }
        Ok(end)
    }

    async fn look(&mut self, path: &str) -> Result<Option<Info>> {
        let Self { talk, deadline, .. } = self;
        let look = async {
            talk.say(&Ask::Look { path: path.into(), follow: false }).await?;
            talk.hear().await
        };
        match deadline.bound(look).await {
            Ok(Tell::Info(info, _)) => Ok(Some(info)),
            Ok(other) => Err(nonsense(&other)),
            Err(error) if error.kind == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Those that mean something.
fn names(path: &str) -> impl DoubleEndedIterator<Item = &str> {
    path.split('/').filter(|name| !matches!(*name, "" | "."))
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

/// Where the visitor has what the container would have at a path without links.
fn place(path: &str, mounts: &[(String, String)]) -> String {
    let over = mounts.iter().filter(|(target, _)| path == target || is_below(path, target));
    match over.max_by_key(|(target, _)| target.len()) {
        Some((target, tree)) => format!("/{tree}{}", &path[target.len()..]),
        None => format!("/{ROOT}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_last_is_seen() {
        let mounts = [("/a", "m0"), ("/a/b", "m1")].map(|(target, tree)| (target.to_owned(), tree.to_owned()));
        let places =
            [("/a", "/m0"), ("/a/x", "/m0/x"), ("/a/b/c", "/m1/c"), ("/ab", "/root/ab"), ("/x/a", "/root/x/a")];
        for (path, at) in places {
            assert_eq!(place(path, &mounts), at);
        }
        assert!(is_below("/a/b", "/a") && !is_below("/a", "/a") && !is_below("/ab", "/a"));
        assert_eq!(names("//a/./b/../c/").collect::<Vec<_>>(), ["a", "b", "..", "c"]);
    }
}
