//! Another name for something.

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, RenameFlags, Stat, fstat, renameat_with, unlinkat};
use rustix::io::Errno;

use super::copy::copy;
use super::place::{Place, kind};
use super::remove::{take_any_away, take_away};
use super::talk::{Outcome, Talk, Trouble};
use super::write::unfinished;
use podgate_agent::protocol::files::{Kind, Reason, Tell};

impl Place {
    /// Whether both are one name in one directory, however they were found.
    fn is(&self, other: &Self) -> Outcome<bool> {
        let (dir, others) = (fstat(&self.dir)?, fstat(&other.dir)?);
        Ok((dir.st_dev, dir.st_ino) == (others.st_dev, others.st_ino) && self.name == other.name)
    }
}

pub(super) fn rename(talk: &mut Talk, from: &[u8], to: &[u8], replace: bool, token: u64) -> Outcome<Tell> {
    let (source, target) = (Place::find(from)?, Place::find(to)?);
    let moved = source.look()?.ok_or(Errno::NOENT)?;
    let is_directory = kind(&moved) == Kind::Directory;
    let is_moved = |found: &Stat| (found.st_dev, found.st_ino) == (moved.st_dev, moved.st_ino);
    match target.look()? {
        None => {}
        // Of two names of one file, the kernel would leave both and say that all is well.
        Some(found) if is_moved(&found) && replace && !is_directory && !source.is(&target)? => {
            unlinkat(&source.dir, &source.name, AtFlags::empty())?;
            return Ok(Tell::Info(target.info(&found)?, false));
        }
        Some(found) if is_moved(&found) => {}
        Some(found) if kind(&found) == Kind::Directory => return Err(Trouble::of(Reason::Directory)),
        Some(_) if !replace || is_directory => return Err(Trouble::of(Reason::Exists)),
        Some(_) => {}
    }
    let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
    match renameat_with(&source.dir, &source.name, &target.dir, &target.name, flags) {
        // Another file system; or a directory that the container's image has, which an overlay does not move.
        Err(Errno::XDEV) => {
            let draft = unfinished(token);
            let copied = copy(&mut || talk.still(), source.dir.as_fd(), &source.name, target.dir.as_fd(), &draft, 0);
            let placed =
                copied.and_then(|()| Ok(renameat_with(&target.dir, &draft, &target.dir, &target.name, flags)?));
            if let Err(trouble) = placed {
                let _ = take_any_away(target.dir.as_fd(), &draft);
                return Err(trouble);
            }
            // From here on it has its new name, whatever becomes of the old one.
            if is_directory {
                take_away(&mut || talk.alive(), source.dir.as_fd(), &source.name)?;
            } else {
                unlinkat(&source.dir, &source.name, AtFlags::empty())?;
            }
        }
        Err(Errno::INVAL) => return Err(Trouble::of(Reason::Within)),
        other => other?,
    }
    let stat = target.look()?.ok_or(Errno::NOENT)?;
    Ok(Tell::Info(target.info(&stat)?, false))
}
