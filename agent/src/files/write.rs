//! One regular file, whole or not at all.

use std::ffi::{CStr, CString};

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, Stat, fchmod, fchown, fdatasync, fstat, fsync, linkat, openat, renameat,
    renameat_with, unlinkat,
};
use rustix::io::Errno;

use super::UNFINISHED;
use super::place::{Place, group, info, user, version};
use super::read::regular;
use super::talk::{Outcome, Talk, Trouble};
use podgate_agent::protocol::files::{Ask, Expect, Owner, Reason, Tell, Write};

/// Of a file that replaces none.
const MODE: u32 = 0o644;

/// How many bytes may be on their way to the disk: whoever waits for all of it at the end waits that long.
const MOST_UNFLUSHED: usize = 64 * 1024 * 1024;

pub(super) fn write(talk: &mut Talk, ask: &Write, own_files: Option<&OwnedFd>) -> Outcome<Tell> {
    let (place, found) = Place::find(&ask.path)?.end_of_links()?;
    check(found.as_ref(), ask.expect)?;
    let mut draft = Draft::begin(place.dir.as_fd(), ask.token, own_files)?;
    talk.tell(&Tell::Done(0))?;
    let mut unflushed = 0;
    loop {
        match talk.more()? {
            Ask::Data(bytes) => {
                write_all(&draft.file, &bytes)?;
                unflushed += bytes.len();
                if unflushed >= MOST_UNFLUSHED {
                    fdatasync(&draft.file)?;
                    unflushed = 0;
                    talk.alive()?;
                }
            }
            Ask::Finish => break,
            Ask::Forget => return Err(Trouble::Forgotten),
            _ => return Err(Trouble::Gone),
        }
    }
    // Once more, for what happened meanwhile.
    let found = place.look()?;
    check(found.as_ref(), ask.expect)?;
    let old = found.as_ref().map(info);
    let owner = ask.owner.or(old.as_ref().map(|old| old.owner)).unwrap_or(Owner::ROOT);
    let mode = ask.mode.or(old.as_ref().map(|old| old.mode)).unwrap_or(MODE);
    // In this order: another owner takes the set-user bit away.
    fchown(&draft.file, user(owner), group(owner))?;
    fchmod(&draft.file, Mode::from_raw_mode(mode))?;
    fsync(&draft.file)?;
    // That may have taken longer than anybody waited.
    talk.still()?;
    draft.place(&place.name, ask.expect == Expect::Nothing)?;
    Ok(Tell::Info(info(&fstat(&draft.file)?), old.is_none()))
}

/// Whether a file may be written where this stands.
fn check(found: Option<&Stat>, expect: Expect) -> Outcome<()> {
    found.map_or(Ok(()), regular)?;
    let as_expected = match expect {
        Expect::Anything => true,
        Expect::Nothing => found.is_none(),
        Expect::Version(expected) => found.is_some_and(|stat| version(stat) == expected),
    };
    if as_expected { Ok(()) } else { Err(Trouble::of(Reason::Changed)) }
}

pub(super) fn write_all(file: &OwnedFd, bytes: &[u8]) -> Outcome<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        match rustix::io::write(file, rest) {
            Ok(count) => rest = &rest[count..],
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// What nobody is called for, elsewhere than in the directory that it is for.
pub(super) fn unfinished(token: u64) -> CString {
    CString::new(format!("{UNFINISHED}{token:016x}")).unwrap_or_default()
}

/// A file that is being written. Dropped, it is gone.
struct Draft<'a> {
    dir: BorrowedFd<'a>,
    file: OwnedFd,
    /// Its own, for the time of its making.
    name: CString,
    has_name: bool,
    /// By which it gets its first name.
    own_files: Option<&'a OwnedFd>,
}

impl<'a> Draft<'a> {
    /// Without a name where the file system knows such files: then whoever kills the agent leaves nothing behind.
    fn begin(dir: BorrowedFd<'a>, token: u64, own_files: Option<&'a OwnedFd>) -> Outcome<Self> {
        let name = unfinished(token);
        let mode = Mode::RUSR | Mode::WUSR;
        if own_files.is_some()
            && let Ok(file) = openat(dir, ".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode)
        {
            return Ok(Self { dir, file, name, has_name: false, own_files });
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(dir, &name, flags, mode)?;
        Ok(Self { dir, file, name, has_name: true, own_files: None })
    }

    /// Gives it its name, in one step.
    fn place(&mut self, name: &CStr, must_be_new: bool) -> Outcome<()> {
        if must_be_new {
            if self.has_name {
                renameat_with(self.dir, &self.name, self.dir, name, RenameFlags::NOREPLACE).map_err(taken)?;
                self.has_name = false;
            } else {
                self.link(name).map_err(taken)?;
            }
        } else {
            if !self.has_name {
                let own = self.name.clone();
                self.link(&own)?;
                self.has_name = true;
            }
            renameat(self.dir, &self.name, self.dir, name)?;
            self.has_name = false;
        }
        Ok(())
    }

    fn link(&self, name: &CStr) -> rustix::io::Result<()> {
        let own_files = self.own_files.ok_or(Errno::NOENT)?;
        linkat(own_files, self.file.as_raw_fd().to_string(), self.dir, name, AtFlags::SYMLINK_FOLLOW)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if self.has_name {
            let _ = unlinkat(self.dir, &self.name, AtFlags::empty());
        }
    }
}

fn taken(errno: Errno) -> Trouble {
    if errno == Errno::EXIST { Trouble::of(Reason::Changed) } else { errno.into() }
}
