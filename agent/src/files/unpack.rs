//! A tree put into a directory: made beside what is there, and moved into it once it is whole and fits.

use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, ResolveFlags, StatVfsMountFlags, StatxAttributes, StatxFlags,
    fstatvfs, linkat, mkdirat, openat, openat2, renameat, renameat_with, statx, symlinkat, unlinkat,
};
use rustix::io::Errno;

use super::DEEPEST;
use super::copy::{adorn, adorn_link, copy};
use super::place::{directory, kind, look_at, readable};
use super::remove::{take_any_away, take_away};
use super::talk::{Outcome, Talk, Trouble};
use super::write::{unfinished, write_all};
use podgate_agent::protocol::files::{Ask, Entry, Kind, Reason, Refusal, Tell};

/// Of directories that the tree has no entry for.
const MODE: Mode = Mode::from_raw_mode(0o755);

pub(super) fn unpack(talk: &mut Talk, path: &[u8], token: u64) -> Outcome<Tell> {
    let target = directory(CWD, path)?;
    let stage = Stage::begin(target, token)?;
    talk.tell(&Tell::Done(0))?;
    let mut open: Option<(OwnedFd, Entry)> = None;
    loop {
        match talk.more()? {
            Ask::Data(bytes) => write_all(&open.as_ref().ok_or(Trouble::Gone)?.0, &bytes)?,
            Ask::Entry(entry) => {
                finish(open.take())?;
                open = stage.add(entry).map_err(amiss)?;
            }
            Ask::Finish => break,
            Ask::Forget => return Err(Trouble::Forgotten),
            _ => return Err(Trouble::Gone),
        }
    }
    finish(open)?;
    // First whether all of it fits, then all of it.
    for act in [false, true] {
        let mut merge = Merge { talk, stage: &stage, act };
        merge.merge(stage.dir.as_fd(), &[], 0)?;
    }
    Ok(Tell::Done(0))
}

fn finish(open: Option<(OwnedFd, Entry)>) -> Outcome<()> {
    open.map_or(Ok(()), |(file, entry)| adorn(file.as_fd(), &entry.info))
}

/// Where nothing but the archive's own entries lie, whatever is in the way of one is the archive's fault.
fn amiss(trouble: Trouble) -> Trouble {
    use Reason::{Absent, Circle, Directory, Exists, NoDirectory, Outside};
    match trouble {
        Trouble::Refused(refusal)
            if matches!(refusal.reason, Absent | Circle | Directory | Exists | NoDirectory | Outside) =>
        {
            Trouble::Refused(Refusal { reason: Reason::Amiss, ..refusal })
        }
        other => other,
    }
}

/// A directory in the one that is to be filled. Dropped, it is gone.
struct Stage {
    target: OwnedFd,
    name: CString,
    dir: OwnedFd,
}

impl Stage {
    fn begin(target: OwnedFd, token: u64) -> Outcome<Self> {
        let name = unfinished(token);
        mkdirat(&target, &name, Mode::RWXU)?;
        match readable(target.as_fd(), &name) {
            Ok(dir) => Ok(Self { target, name, dir }),
            Err(errno) => {
                let _ = unlinkat(&target, &name, AtFlags::REMOVEDIR);
                Err(errno.into())
            }
        }
    }

    /// One entry; a regular file is open for its content.
    fn add(&self, entry: Entry) -> Outcome<Option<(OwnedFd, Entry)>> {
        let (dir, name) = self.place(&entry.name)?;
        let found = look_at(dir.as_fd(), &name)?;
        if entry.info.kind == Kind::Directory {
            match found.as_ref().map(kind) {
                None => mkdirat(&dir, &name, MODE)?,
                Some(Kind::Directory) => {}
                Some(_) => return Err(Errno::EXIST.into()),
            }
            // Its time is not kept: what comes into it changes that.
            let made = readable(dir.as_fd(), &name)?;
            adorn(made.as_fd(), &entry.info)?;
            return Ok(None);
        }
        match found.as_ref().map(kind) {
            None => {}
            Some(Kind::Directory) => return Err(Trouble::of(Reason::Directory)),
            // The last of one name counts, as it does for tar.
            Some(_) => unlinkat(&dir, &name, AtFlags::empty())?,
        }
        match entry.info.kind {
            Kind::File => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let file = openat(&dir, &name, flags, Mode::RUSR | Mode::WUSR)?;
                return Ok(Some((file, entry)));
            }
            Kind::Link => {
                symlinkat(&entry.info.target[..], &dir, &name)?;
                adorn_link(dir.as_fd(), &name, &entry.info)?;
            }
            Kind::HardLink => {
                let (from, old) = self.place(&entry.info.target)?;
                match look_at(from.as_fd(), &old)?.as_ref().map(kind) {
                    Some(Kind::File | Kind::Link) => linkat(&from, &old, &dir, &name, AtFlags::empty())?,
                    _ => return Err(Trouble::of(Reason::Outside)),
                }
            }
            _ => return Err(Trouble::of(Reason::Special)),
        }
        Ok(None)
    }

    /// Where an entry goes. The directories above it are made; none is a link.
    fn place(&self, path: &[u8]) -> Outcome<(OwnedFd, CString)> {
        let (above, name) = match path.iter().rposition(|byte| *byte == b'/') {
            None => (&b"."[..], path),
            Some(at) => (&path[..at], &path[at + 1..]),
        };
        let name = CString::new(name).map_err(|_| Trouble::of(Reason::Outside))?;
        if matches!(name.to_bytes(), b"" | b"." | b"..") {
            return Err(Trouble::of(Reason::Outside));
        }
        match self.directory(above) {
            Err(Errno::NOENT) => {}
            other => return Ok((other?, name)),
        }
        for at in above.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at).chain([above.len()]) {
            match mkdirat_beneath(self, &above[..at]) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok((self.directory(above)?, name))
    }

    fn directory(&self, path: &[u8]) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        openat2(&self.dir, path, flags, Mode::empty(), resolve)
    }
}

fn mkdirat_beneath(stage: &Stage, path: &[u8]) -> rustix::io::Result<()> {
    match path.iter().rposition(|byte| *byte == b'/') {
        None => mkdirat(&stage.dir, path, MODE),
        Some(at) => mkdirat(stage.directory(&path[..at])?, &path[at + 1..], MODE),
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        let _ = take_away(&mut || Ok(()), self.target.as_fd(), &self.name);
    }
}

/// Moves what was staged to where it belongs, or only looks whether it could.
struct Merge<'a> {
    talk: &'a mut Talk,
    stage: &'a Stage,
    act: bool,
}

impl Merge<'_> {
    /// What lies in `staged` into the directory of that path below the target.
    fn merge(&mut self, staged: BorrowedFd<'_>, path: &[u8], depth: usize) -> Outcome<()> {
        if depth > DEEPEST {
            return Err(Trouble::of(Reason::TooDeep));
        }
        let target = self.target(path)?;
        let mut entries = Dir::read_from(staged)?;
        loop {
            let placed = self.merge_once(&mut entries, staged, &target, path, depth)?;
            // Whatever is taken out of a directory while it is read may hide what was not read yet.
            if placed == 0 {
                return Ok(());
            }
            entries.rewind();
        }
    }

    /// How many entries were moved.
    fn merge_once(
        &mut self,
        entries: &mut Dir,
        staged: BorrowedFd<'_>,
        target: &OwnedFd,
        path: &[u8],
        depth: usize,
    ) -> Outcome<usize> {
        let mut placed = 0;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            // What was begun is finished: half of it is worse than all of it.
            if self.act {
                self.talk.alive()?
            } else {
                self.talk.still()?
            }
            let Some(stat) = look_at(staged, name)? else { continue };
            let there = look_at(target.as_fd(), name)?.as_ref().map(kind);
            if kind(&stat) != Kind::Directory {
                match there {
                    Some(Kind::Directory) => return Err(Trouble::of(Reason::Directory)),
                    Some(Kind::File | Kind::Link) if !self.act && is_mounted(target, name) => {
                        return Err(Trouble::of(Reason::Mounted));
                    }
                    None | Some(Kind::File | Kind::Link) => self.place(staged, name, target.as_fd())?,
                    Some(_) => return Err(Trouble::of(Reason::Special)),
                }
                placed += usize::from(self.act);
                continue;
            }
            match there {
                None => {
                    self.place_directory(staged, name, target.as_fd())?;
                    placed += usize::from(self.act);
                }
                // A link is followed as long as it stays below the target, as /lib of most images does.
                Some(Kind::Directory | Kind::Link) => {
                    let below =
                        if path.is_empty() { name.to_bytes().to_vec() } else { [path, b"/", name.to_bytes()].concat() };
                    self.merge(readable(staged, name)?.as_fd(), &below, depth + 1)?;
                }
                Some(_) => return Err(Errno::EXIST.into()),
            }
        }
        Ok(placed)
    }

    fn target(&self, path: &[u8]) -> Outcome<OwnedFd> {
        let path = if path.is_empty() { b"." } else { path };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        Ok(openat2(&self.stage.target, path, flags, Mode::empty(), resolve)?)
    }

    fn place(&mut self, staged: BorrowedFd<'_>, name: &CStr, target: BorrowedFd<'_>) -> Outcome<()> {
        if !self.act {
            return writable(target);
        }
        match renameat(staged, name, target, name) {
            // Something else is mounted there.
            Err(Errno::XDEV) => self.carry(staged, name, target),
            other => Ok(other?),
        }
    }

    fn place_directory(&mut self, staged: BorrowedFd<'_>, name: &CStr, target: BorrowedFd<'_>) -> Outcome<()> {
        if !self.act {
            return writable(target);
        }
        match renameat_with(staged, name, target, name, RenameFlags::NOREPLACE) {
            Err(Errno::XDEV) => self.carry(staged, name, target),
            other => Ok(other?),
        }
    }

    /// Over to another file system, under its name once it is whole.
    fn carry(&mut self, staged: BorrowedFd<'_>, name: &CStr, target: BorrowedFd<'_>) -> Outcome<()> {
        let draft = &self.stage.name;
        let talk = &mut self.talk;
        let carried = copy(&mut || talk.alive(), staged, name, target, draft, 0);
        let placed = carried.and_then(|()| Ok(renameat(target, draft, target, name)?));
        // What is left: a copy that has no place, or what was copied.
        match &placed {
            Ok(()) => take_any_away(staged, name)?,
            Err(_) => drop(take_any_away(target, draft)),
        }
        placed
    }
}

/// Whether something else is mounted at that name: then nothing takes its place.
fn is_mounted(dir: impl AsFd, name: &CStr) -> bool {
    let found = statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty());
    found.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

/// Whether anything may be put into a directory.
fn writable(dir: BorrowedFd<'_>) -> Outcome<()> {
    if fstatvfs(dir)?.f_flag.contains(StatVfsMountFlags::RDONLY) { Err(Errno::ROFS.into()) } else { Ok(()) }
}
