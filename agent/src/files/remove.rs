//! Taking something away, with all that is in it.

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, Dir, RenameFlags, StatxAttributes, StatxFlags, renameat_with, statx, unlinkat};
use rustix::io::{Errno, fcntl_dupfd_cloexec};

use super::DEEPEST;
use super::place::{Place, kind, readable};
use super::talk::{Outcome, Talk, Trouble};
use super::write::unfinished;
use podgate_agent::protocol::files::{Kind, Reason, Tell};

/// How often a directory is read again into which somebody puts files while it is emptied.
const ROUNDS: usize = 8;

/// How often something is moved up at most: who makes it deeper all the time is not followed for ever.
const MOST_LIFTED: u64 = 10_000;

pub(super) fn remove(talk: &mut Talk, path: &[u8], recursive: bool) -> Outcome<Tell> {
    let place = Place::find(path)?;
    let stat = place.look()?.ok_or(Errno::NOENT)?;
    if kind(&stat) != Kind::Directory {
        unlinkat(&place.dir, &place.name, AtFlags::empty())?;
    } else if recursive {
        take_away(&mut || talk.still(), place.dir.as_fd(), &place.name)?;
    } else {
        unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR)?;
    }
    Ok(Tell::Done(0))
}

/// A directory and all in it; what is mounted in it stays, and so does what lies above that. `still` is asked between
/// two steps.
pub(super) fn take_away(still: &mut dyn FnMut() -> Outcome<()>, above: BorrowedFd<'_>, name: &CStr) -> Outcome<()> {
    Removal { still, top: None, lifted: 0 }.take(above, name, 0)
}

struct Removal<'a> {
    still: &'a mut dyn FnMut() -> Outcome<()>,
    /// What is taken away.
    top: Option<OwnedFd>,
    /// How often something was lifted into that.
    lifted: u64,
}

impl Removal<'_> {
    fn take(&mut self, above: BorrowedFd<'_>, name: &CStr, depth: usize) -> Outcome<()> {
        let dir = readable(above, name)?;
        if is_mounted(dir.as_fd()) {
            return Err(Trouble::of(Reason::Mounted));
        }
        if self.top.is_none() {
            self.top = Some(fcntl_dupfd_cloexec(&dir, 0)?);
        }
        let mut entries = Dir::read_from(&dir)?;
        let mut rounds = 0;
        while rounds < ROUNDS {
            let lifted = self.lifted;
            while let Some(entry) = entries.read() {
                let entry = entry?;
                if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                    continue;
                }
                (self.still)()?;
                match unlinkat(&dir, entry.file_name(), AtFlags::empty()) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::ISDIR) if depth < DEEPEST => self.take(dir.as_fd(), entry.file_name(), depth + 1)?,
                    Err(Errno::ISDIR) => self.lift(dir.as_fd(), entry.file_name())?,
                    Err(errno) => return Err(errno.into()),
                }
            }
            match unlinkat(above, name, AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY) => entries.rewind(),
                other => return Ok(other?),
            }
            // What was lifted to here is progress.
            if depth > 0 || self.lifted == lifted {
                rounds += 1;
            }
        }
        Err(Errno::NOTEMPTY.into())
    }

    /// Moves what lies too deep up into what is taken away, where its turn comes: each level holds an open directory,
    /// and a way back up by `..` could be turned elsewhere meanwhile.
    fn lift(&mut self, dir: BorrowedFd<'_>, name: &CStr) -> Outcome<()> {
        let top = self.top.as_ref().ok_or(Trouble::Gone)?;
        while self.lifted < MOST_LIFTED {
            self.lifted += 1;
            match renameat_with(dir, name, top, unfinished(self.lifted), RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => {}
                // Of an image's directories, an overlay moves none.
                Err(Errno::XDEV) => break,
                Ok(()) | Err(Errno::NOENT) => return Ok(()),
                Err(errno) => return Err(errno.into()),
            }
        }
        Err(Trouble::of(Reason::TooDeep))
    }
}

/// Whatever it is. What cannot be asked whether it is wanted still is.
pub(super) fn take_any_away(above: BorrowedFd<'_>, name: &CStr) -> Outcome<()> {
    match unlinkat(above, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => take_away(&mut || Ok(()), above, name),
        other => Ok(other?),
    }
}

fn is_mounted(dir: BorrowedFd<'_>) -> bool {
    let looked = statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE);
    looked.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
