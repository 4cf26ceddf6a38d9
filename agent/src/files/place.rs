//! Where something stands: a directory that is held open, and a plain name in it.

use std::ffi::CString;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chownat, fstatfs, mkdirat, openat, openat2,
    readlinkat, statat,
};
use rustix::io::Errno;

use super::talk::{Outcome, Trouble};
use podgate_agent::protocol::files::{Info, Kind, Owner, Reason, Tell, Time, Version};

/// As many links as Linux follows.
const MOST_LINKS: usize = 40;

/// File systems that are views of the kernel: what is in them is no file. From linux/magic.h.
const VIEWS: &[u64] = &[
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x1980_0202, // mqueue
    0xcafe_4a11, // bpf
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
];

pub(super) struct Place {
    pub dir: OwnedFd,
    pub name: CString,
}

impl Place {
    /// Of an absolute path, links above its last name followed.
    pub fn find(path: &[u8]) -> Outcome<Self> {
        Self::beside(CWD, path)
    }

    /// Of a path that begins in a directory.
    fn beside(dir: BorrowedFd<'_>, path: &[u8]) -> Outcome<Self> {
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            None => (&b"."[..], path),
            Some(0) => (&b"/"[..], &path[1..]),
            Some(at) => (&path[..at], &path[at + 1..]),
        };
        // Only a root has no name.
        let name = if name.is_empty() { &b"."[..] } else { name };
        let dir = directory(dir, above)?;
        Ok(Self { dir, name: CString::new(name).map_err(|_| Trouble::of(Reason::Absent))? })
    }

    /// What stands there, be it a link; none for nothing.
    pub fn look(&self) -> Outcome<Option<Stat>> {
        look_at(self.dir.as_fd(), &self.name)
    }

    /// Where the links lead that begin here, and what stands there.
    pub fn end_of_links(mut self) -> Outcome<(Self, Option<Stat>)> {
        for _ in 0..MOST_LINKS {
            let found = self.look()?;
            if found.as_ref().is_none_or(|stat| kind(stat) != Kind::Link) {
                return Ok((self, found));
            }
            let target = readlinkat(&self.dir, &self.name, Vec::new())?;
            if matches!(target.as_bytes().rsplit(|byte| *byte == b'/').next(), Some(b"" | b"." | b"..")) {
                // Only a directory is called so.
                let dir = directory(self.dir.as_fd(), target.as_bytes())?;
                self = Self { dir, name: c".".into() };
            } else {
                self = Self::beside(self.dir.as_fd(), target.as_bytes())?;
            }
        }
        Err(Errno::LOOP.into())
    }

    /// What stands here, in full.
    pub fn info(&self, stat: &Stat) -> Outcome<Info> {
        info_at(self.dir.as_fd(), &self.name, stat)
    }
}

/// Opens a directory to find names in, links followed, but not those of /proc that lead to open files.
pub(super) fn directory(from: BorrowedFd<'_>, path: &[u8]) -> Outcome<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat2(from, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?)
}

/// Opens a directory to read, not through a link.
pub(super) fn readable(dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(dir, name, flags, Mode::empty())
}

pub(super) fn look_at(dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> Outcome<Option<Stat>> {
    match statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

pub(super) fn info_at(dir: BorrowedFd<'_>, name: &std::ffi::CStr, stat: &Stat) -> Outcome<Info> {
    let target = if kind(stat) == Kind::Link { readlinkat(dir, name, Vec::new())?.into_bytes() } else { Vec::new() };
    Ok(Info { target, ..info(stat) })
}

/// Whether something that is open belongs to a view of the kernel.
pub(super) fn is_view(open: impl AsFd) -> bool {
    fstatfs(open).is_ok_and(|found| VIEWS.contains(&found.f_type.cast_unsigned()))
}

pub(super) fn kind(stat: &Stat) -> Kind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        FileType::Symlink => Kind::Link,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        _ => Kind::Device,
    }
}

pub(super) fn version(stat: &Stat) -> Version {
    let time = |seconds: i64, nanoseconds: u64| Time {
        seconds,
        nanoseconds: u32::try_from(nanoseconds).unwrap_or_default().min(999_999_999),
    };
    Version {
        inode: stat.st_ino,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        modified: time(stat.st_mtime, stat.st_mtime_nsec),
        changed: time(stat.st_ctime, stat.st_ctime_nsec),
    }
}

/// All but where a link leads.
pub(super) fn info(stat: &Stat) -> Info {
    Info {
        kind: kind(stat),
        mode: stat.st_mode & 0o7777,
        owner: Owner { user: stat.st_uid, group: stat.st_gid },
        version: version(stat),
        target: Vec::new(),
    }
}

pub(super) fn user(owner: Owner) -> Option<Uid> {
    Some(Uid::from_raw(owner.user))
}

pub(super) fn group(owner: Owner) -> Option<Gid> {
    Some(Gid::from_raw(owner.group))
}

pub(super) fn look(path: &[u8], follow: bool) -> Outcome<Tell> {
    let place = Place::find(path)?;
    let (place, found) = if follow {
        place.end_of_links()?
    } else {
        let found = place.look()?;
        (place, found)
    };
    let stat = found.ok_or(Errno::NOENT)?;
    Ok(Tell::Info(place.info(&stat)?, false))
}

pub(super) fn make_directory(path: &[u8], parents: bool, mode: u32, owner: Owner) -> Outcome<Tell> {
    if parents {
        for (at, _) in path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/') {
            // Those that are there stay as they are, and may be links.
            match directory(CWD, &path[..at]) {
                Ok(_) => {}
                Err(Trouble::Refused(refusal)) if refusal.reason == Reason::Absent => {
                    make_one(&Place::find(&path[..at])?, 0o755, owner)?;
                }
                Err(other) => return Err(other),
            }
        }
    }
    let place = Place::find(path)?;
    let made = match make_one(&place, mode, owner) {
        Err(Trouble::Refused(refusal)) if parents && refusal.reason == Reason::Exists => false,
        other => other.map(|()| true)?,
    };
    let (place, found) = place.end_of_links()?;
    let stat = found.ok_or(Errno::NOENT)?;
    if kind(&stat) != Kind::Directory {
        return Err(Errno::EXIST.into());
    }
    Ok(Tell::Info(place.info(&stat)?, made))
}

/// Whatever its mode says, it has it from the beginning.
fn make_one(place: &Place, mode: u32, owner: Owner) -> Outcome<()> {
    mkdirat(&place.dir, &place.name, Mode::from_raw_mode(mode))?;
    chownat(&place.dir, &place.name, user(owner), group(owner), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}
