//! Small files put and got by Podman itself, in one call: account files, and what the agent is not there for.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::{TryStreamExt, stream};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Expected, Target};
use crate::domain::{ContainerPath, Error, FileMode, FileOwner, Kind, Result};
use crate::engine::{Deadline, Engine, failure};
use crate::policy::grant::{Audited, ContainerGrant};

/// A file to write.
#[derive(Debug, Clone)]
pub struct FileWrite {
    /// Where.
    pub path: ContainerPath,
    /// What.
    pub content: Bytes,
    /// Permission bits.
    pub mode: FileMode,
    /// Whose.
    pub owner: FileOwner,
}

impl FileWrite {
    /// The same for the agent.
    pub fn target(&self, expected: Expected) -> Target {
        Target { path: self.path.clone(), mode: Some(self.mode), owner: Some(self.owner), expected }
    }
}

/// Podman's `X-Docker-Container-Path-Stat`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::engine) struct Stat {
    pub(in crate::engine) mode: u32,
    /// Bytes; of the link itself where it is one.
    pub(in crate::engine) size: i64,
    /// Of what the path leads to, links followed.
    is_dir: bool,
    /// Where a link leads in the end; else the path.
    pub(in crate::engine) link_target: String,
}

/// Largest file that `read_file` takes: account files, not content.
const MAX_READ: usize = 4 * 1024 * 1024;

impl Engine {
    /// Writes one file; a link is followed. `NotFound` where its directory is missing, `Conflict` where something other
    /// than a regular file stands at its name. By the agent, which replaces it in one step; else by Podman.
    pub async fn write_file(&self, grant: &Audited<ContainerGrant>, file: &FileWrite) -> Result<()> {
        if self.agent.is_none() {
            return self.write_account_file(grant, file, self.deadline()).await;
        }
        let target = file.target(Expected::Anything);
        let content = stream::iter([Ok(file.content.clone())]);
        self.changing_files(grant).await?.write(&target, content).await.map(drop)
    }

    /// The same by Podman alone, which removes the old file first (it would replace a directory or a device as well).
    pub async fn write_account_file(
        &self,
        grant: &Audited<ContainerGrant>,
        file: &FileWrite,
        deadline: Deadline,
    ) -> Result<()> {
        let _lane = self.long.enter(grant.tenant(), deadline).await?;
        self.answering(grant, deadline).await?;
        let mut header = tar::Header::new_gnu();
        header.set_size(file.content.len() as u64);
        header.set_mode(file.mode.0);
        header.set_uid(file.owner.user.into());
        header.set_gid(file.owner.group.into());
        let at = self.end_of_links(grant, &file.path, deadline).await?;
        self.put(grant, &at, header, &file.content, deadline).await
    }

    /// Where a file is to be written: its path, or where the link that stands there leads.
    async fn end_of_links(
        &self,
        grant: &ContainerGrant,
        path: &ContainerPath,
        deadline: Deadline,
    ) -> Result<ContainerPath> {
        let Some(stat) = self.stat(grant, path.as_str(), deadline).await? else { return Ok(path.clone()) };
        let occupied = |what: &'static str| Err(Error::new(Kind::Conflict, what));
        if stat.is_dir {
            return occupied("a directory stands at that path");
        }
        if stat.is_regular() {
            return Ok(path.clone());
        }
        if !stat.is_link() {
            return occupied("something other than a regular file stands at that path");
        }
        let target = ContainerPath::parse(&stat.link_target).map_err(failure::unreadable)?;
        match self.stat(grant, target.as_str(), deadline).await? {
            Some(stat) if !stat.is_regular() => occupied("something other than a regular file stands at that path"),
            _ => Ok(target),
        }
    }

    /// Makes one directory for a user of that id; fine if it exists.
    pub async fn make_directory(
        &self,
        grant: &Audited<ContainerGrant>,
        path: &ContainerPath,
        owner: u32,
        deadline: Deadline,
    ) -> Result<()> {
        if self.directory(grant, path.as_str(), deadline).await.is_ok() {
            return Ok(());
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(0o755);
        header.set_size(0);
        header.set_uid(owner.into());
        header.set_gid(owner.into());
        self.put(grant, path, header, &[], deadline).await
    }

    /// Puts one entry into a directory that exists. `header` lacks only the name.
    async fn put(
        &self,
        grant: &Audited<ContainerGrant>,
        at: &ContainerPath,
        mut header: tar::Header,
        content: &[u8],
        deadline: Deadline,
    ) -> Result<()> {
        let parent = self.directory(grant, at.parent(), deadline).await?;
        let mut archive = tar::Builder::new(Vec::with_capacity(content.len() + 2048));
        header.set_mtime(u64::try_from((self.world.now)().unix_timestamp()).unwrap_or_default());
        archive.append_data(&mut header, at.name(), content).map_err(Error::internal)?;
        let archive = archive.into_inner().map_err(Error::internal)?;
        let path = format!("{}&noOverwriteDirNonDir=true", archive_url(grant, &parent));
        let put = async {
            let answer = self.wire.put_tar(&path, Bytes::from(archive)).await?;
            answer.checked().map(drop).map_err(failure::at_a_path).map_err(not_there)
        };
        deadline.bound(put).await
    }

    /// A small regular file's content; none if there is no such file.
    pub async fn read_file(&self, grant: &ContainerGrant, path: &str, deadline: Deadline) -> Result<Option<Vec<u8>>> {
        let container = self.podman.containers().get(grant.engine_id().as_str());
        let read = async {
            let mut archive = Vec::new();
            let mut chunks = Box::pin(container.copy_from(path));
            while let Some(chunk) = chunks.try_next().await.map_err(failure::of_client).map_err(failure::at_a_path)? {
                archive.extend_from_slice(&chunk);
                if archive.len() > MAX_READ {
                    return Err(Error::new(Kind::Refused, format!("{path} in the container is too large")));
                }
            }
            first_file(&archive)
        };
        match self.on(grant, deadline, self.timed("GET containers/{id}/archive", read)).await {
            Err(error) if error.kind == Kind::NoPath => Ok(None),
            other => other,
        }
    }

    /// What a directory's path resolves to.
    async fn directory(&self, grant: &ContainerGrant, path: &str, deadline: Deadline) -> Result<String> {
        match self.stat(grant, path, deadline).await? {
            Some(stat) if stat.is_dir => Ok(stat.link_target),
            _ => Err(Error::new(Kind::NotFound, "no such directory in the container")),
        }
    }

    /// What stands at a path; none if nothing does. `NotFound` if Podman does not have the container.
    async fn stat(&self, grant: &ContainerGrant, path: &str, deadline: Deadline) -> Result<Option<Stat>> {
        let url = archive_url(grant, path);
        let answer = deadline.bound(self.wire.head(&url)).await;
        self.learn(grant.engine_id(), &answer);
        let answer = answer?;
        if answer.status == hyper::StatusCode::NOT_FOUND {
            // A HEAD has no body to say what is missing: the path, or the container.
            self.status(grant, deadline).await?;
            return Ok(None);
        }
        let answer = answer.checked()?;
        Stat::of(&answer.headers).map(Some)
    }
}

impl Stat {
    /// As an answer to HEAD has it.
    pub(in crate::engine) fn of(headers: &hyper::HeaderMap) -> Result<Self> {
        let header = headers.get("x-docker-container-path-stat").map(|value| STANDARD.decode(value.as_bytes()));
        let Some(Ok(bytes)) = header else { return Err(failure::unreadable("a path without its stat")) };
        serde_json::from_slice(&bytes).map_err(failure::unreadable)
    }

    /// Go's file mode bits: a link; a device of either kind; and anything that is not regular.
    const LINK: u32 = 1 << 27;
    const DEVICE: u32 = 1 << 26 | 1 << 21;
    const IRREGULAR: u32 = 1 << 31 | Self::LINK | Self::DEVICE | 1 << 25 | 1 << 24 | 1 << 19;

    pub(in crate::engine) fn is_link(&self) -> bool {
        self.mode & Self::LINK != 0
    }

    pub(in crate::engine) fn is_device(&self) -> bool {
        self.mode & Self::DEVICE != 0
    }

    fn is_regular(&self) -> bool {
        self.mode & Self::IRREGULAR == 0
    }
}

/// The archive endpoint of Podman's Docker-compatible side; the path is escaped whole.
pub(in crate::engine) fn archive_url(grant: &ContainerGrant, path: &str) -> String {
    let path = utf8_percent_encode(path, NON_ALPHANUMERIC);
    format!("/v1.40/containers/{}/archive?path={path}", grant.engine_id())
}

/// Podman's words for what cannot be written where it should go.
fn not_there(error: Error) -> Error {
    const WORDS: &[&str] = &["file exists", "directory", "permission denied", "not permitted", "invalid argument"];
    let known = error.cause.as_ref().is_some_and(|cause| WORDS.iter().any(|words| cause.contains(words)));
    match error.kind {
        Kind::Busy => error.said(Kind::Conflict, "the file is mounted there and cannot be replaced"),
        Kind::Engine if known => error.said(Kind::Conflict, "no file can be written at that path"),
        _ => error,
    }
}

/// The content of an archive's only file; none if it holds something else.
pub(in crate::engine) fn first_file(archive: &[u8]) -> Result<Option<Vec<u8>>> {
    use std::io::Read;
    let mut archive = tar::Archive::new(archive);
    let first = archive.entries().map_err(failure::unreadable)?.next();
    let Some(entry) = first.transpose().map_err(failure::unreadable)? else {
        return Ok(None);
    };
    if !entry.header().entry_type().is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    entry.take(MAX_READ as u64).read_to_end(&mut content).map_err(failure::unreadable)?;
    Ok(Some(content))
}
