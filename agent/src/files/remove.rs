//! Taking something away, with all that is in it.

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{AtFlags, Dir, StatxAttributes, StatxFlags, statx, unlinkat};
use rustix::io::Errno;

use super::DEEPEST;
use super::place::{Place, kind, readable};
use super::talk::{Outcome, Talk, Trouble};
use podgate_agent::protocol::files::{Kind, Reason, Tell};

/// How often a directory is read again into which somebody puts files while it is emptied.
const ROUNDS: usize = 8;

pub(super) fn remove(talk: &mut Talk, path: &[u8], recursive: bool) -> Outcome<Tell> {
    let place = Place::find(path)?;
    let stat = place.look()?.ok_or(Errno::NOENT)?;
    if kind(&stat) != Kind::Directory {
        unlinkat(&place.dir, &place.name, AtFlags::empty())?;
    } else if recursive {
        take_away(&mut || talk.still(), place.dir.as_fd(), &place.name, 0)?;
    } else {
        unlinkat(&place.dir, &place.name, AtFlags::REMOVEDIR)?;
    }
    Ok(Tell::Done(0))
}

/// A directory and all in it; what is mounted in it stays, and so does what lies above that. `still` is asked between
/// two steps.
pub(super) fn take_away(
    still: &mut dyn FnMut() -> Outcome<()>,
    above: BorrowedFd<'_>,
    name: &CStr,
    depth: usize,
) -> Outcome<()> {
    if depth > DEEPEST {
        return Err(Trouble::of(Reason::TooDeep));
    }
    let dir = readable(above, name)?;
    if is_mounted(dir.as_fd()) {
        return Err(Trouble::of(Reason::Mounted));
    }
    let mut entries = Dir::read_from(&dir)?;
    for _ in 0..ROUNDS {
        while let Some(entry) = entries.read() {
            let entry = entry?;
            if matches!(entry.file_name().to_bytes(), b"." | b"..") {
                continue;
            }
            still()?;
            match unlinkat(&dir, entry.file_name(), AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => {}
                Err(Errno::ISDIR) => take_away(still, dir.as_fd(), entry.file_name(), depth + 1)?,
                Err(errno) => return Err(errno.into()),
            }
        }
        match unlinkat(above, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY) => entries.rewind(),
            other => return Ok(other?),
        }
    }
    Err(Errno::NOTEMPTY.into())
}

/// Whatever it is. What cannot be asked whether it is wanted still is.
pub(super) fn take_any_away(above: BorrowedFd<'_>, name: &CStr) -> Outcome<()> {
    match unlinkat(above, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => take_away(&mut || Ok(()), above, name, 0),
        other => Ok(other?),
    }
}

fn is_mounted(dir: BorrowedFd<'_>) -> bool {
    let looked = statx(dir, "", AtFlags::EMPTY_PATH, StatxFlags::TYPE);
    looked.is_ok_and(|found| found.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}
