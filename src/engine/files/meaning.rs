//! From the agent's language to the program's, and back.

use podgate_agent::protocol::files::{self as agent, Reason, Refusal};

use crate::domain::{Error, FileEntry, FileInfo, FileKind, FileOwner, FileTime, FileVersion, Kind};

/// What a refusal means to the caller.
pub(super) fn refused(refusal: Refusal) -> Error {
    let conflict = |message: &'static str| Error::new(Kind::Conflict, message);
    let error = match refusal.reason {
        Reason::Absent => Error::new(Kind::NotFound, "no such file or directory in the container"),
        Reason::NoDirectory => Error::new(Kind::NotFound, "no such directory in the container"),
        Reason::Directory => conflict("a directory stands at that path"),
        Reason::Special => conflict("something other than a regular file stands at that path"),
        Reason::Exists => conflict("something stands at that path"),
        Reason::NotEmpty => conflict("the directory is not empty"),
        Reason::ReadOnly => conflict("the file system is read-only there"),
        Reason::Mounted => conflict("it is mounted or in use there"),
        Reason::Full => Error::new(Kind::Quota, "there is no room left where the container keeps its files"),
        Reason::Denied => conflict("the container's root may not do this"),
        Reason::Circle => conflict("the path leads in a circle, or over one of the kernel's own links"),
        Reason::Outside => conflict("the path leads out of the directory"),
        Reason::Amiss => Error::new(
            Kind::Invalid,
            "an entry of the archive leads out of it, lies below one that is no directory, or links to what it has not",
        ),
        Reason::Changed => Error::new(Kind::Precondition, "the file is not the one that the request names"),
        Reason::TooLong => Error::new(Kind::Refused, "a name or a path is too long for the container's file system"),
        Reason::TooDeep => conflict("the directories go deeper than 200 levels"),
        Reason::Shrunk => conflict("the file got shorter while it was read"),
        Reason::Within => conflict("a directory cannot be moved into itself"),
        Reason::Failed => Error::new(Kind::Engine, "the container's file system failed; see the log"),
    };
    error.because(format!("{:?}, error {}", refusal.reason, refusal.errno))
}

pub(super) fn info(info: agent::Info) -> FileInfo {
    let agent::Info { kind, mode, owner, version, target } = info;
    FileInfo {
        kind: match kind {
            agent::Kind::File => FileKind::File,
            agent::Kind::Directory => FileKind::Directory,
            agent::Kind::Link => FileKind::Link,
            agent::Kind::HardLink => FileKind::HardLink,
            agent::Kind::Fifo => FileKind::Fifo,
            agent::Kind::Socket => FileKind::Socket,
            agent::Kind::Device => FileKind::Device,
        },
        size: version.size,
        mode: mode & 0o7777,
        owner: FileOwner { user: owner.user, group: owner.group },
        modified: time(version.modified),
        target,
        version: FileVersion {
            inode: version.inode,
            size: version.size,
            modified: time(version.modified),
            changed: time(version.changed),
        },
    }
}

pub(super) fn entry(entry: agent::Entry) -> FileEntry {
    FileEntry { name: entry.name, info: info(entry.info) }
}

fn time(time: agent::Time) -> FileTime {
    FileTime { seconds: time.seconds, nanoseconds: time.nanoseconds }
}

pub(super) fn agent_owner(owner: FileOwner) -> agent::Owner {
    agent::Owner { user: owner.user, group: owner.group }
}

pub(super) fn agent_version(version: FileVersion) -> agent::Version {
    agent::Version {
        inode: version.inode,
        size: version.size,
        modified: agent_time(version.modified),
        changed: agent_time(version.changed),
    }
}

pub(super) fn agent_entry(entry: FileEntry) -> agent::Entry {
    let FileInfo { kind, mode, owner, target, version, .. } = entry.info;
    let kind = match kind {
        FileKind::File => agent::Kind::File,
        FileKind::Directory => agent::Kind::Directory,
        FileKind::Link => agent::Kind::Link,
        FileKind::HardLink => agent::Kind::HardLink,
        FileKind::Fifo => agent::Kind::Fifo,
        FileKind::Socket => agent::Kind::Socket,
        FileKind::Device => agent::Kind::Device,
    };
    let info = agent::Info { kind, mode, owner: agent_owner(owner), version: agent_version(version), target };
    agent::Entry { name: entry.name, info }
}

fn agent_time(time: FileTime) -> agent::Time {
    agent::Time { seconds: time.seconds, nanoseconds: time.nanoseconds }
}
