//! How much of the disk a directory takes, however deep it goes and whatever its owner does meanwhile.

use std::ffi::CString;
use std::time::{Duration, Instant};

use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, Stat, fstat, statat};
use rustix::io::Errno;

use super::place::{directory, kind, readable};
use super::talk::{Outcome, Talk};
use podgate_agent::protocol::files::{Kind, Tell};

/// What anything takes beside its content: an inode and a name.
const OF_ITSELF: u64 = 512;

/// What may be remembered of directories: the way to where we are, and those that wait for their turn.
const MOST_REMEMBERED: usize = 64 * 1024 * 1024;
/// What a directory takes of that, beside its name.
const REMEMBERED: usize = size_of::<Level>() + 32;

/// Directories that are open at a time, the lowest ones of the way.
const MOST_OPEN: usize = 256;

/// A directory on the way down, and those in it that were not looked into yet.
struct Level {
    name: CString,
    identity: (u64, u64),
    open: Option<OwnedFd>,
    waiting: Vec<CString>,
}

/// The way up are directories that are held open, so that it leads back whatever was moved meanwhile. Of a way that is
/// longer, the rest is found by `..`, or else by its names from above; what is not there any more is left out.
struct Walk {
    top: OwnedFd,
    bytes: u64,
    is_whole: bool,
    remembered: usize,
    until: Instant,
}

pub(super) fn measure(talk: &mut Talk, path: &[u8], within_ms: u64) -> Outcome<Tell> {
    let now = Instant::now();
    let until = now.checked_add(Duration::from_millis(within_ms)).unwrap_or(now);
    let top = readable(directory(CWD, path)?.as_fd(), c".")?;
    let mut walk = Walk { top, bytes: 0, is_whole: true, remembered: 0, until };
    walk.all_below(talk)?;
    Ok(Tell::Measured(walk.bytes, walk.is_whole))
}

impl Walk {
    fn all_below(&mut self, talk: &mut Talk) -> Outcome<()> {
        let mut way = vec![self.enter(talk, readable(self.top.as_fd(), c".")?, c".".into())?];
        while let Some(level) = way.last_mut() {
            if self.is_late() {
                return Ok(());
            }
            let Some(here) = &level.open else {
                self.find_again(&mut way)?;
                continue;
            };
            if let Some(name) = level.waiting.pop() {
                match readable(here.as_fd(), &name) {
                    Ok(below) => {
                        let below = self.enter(talk, below, name)?;
                        way.push(below);
                        if let Some(far) = way.len().checked_sub(MOST_OPEN + 1) {
                            way[far].open = None;
                        }
                    }
                    // It was taken away, or is something else by now.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => self.forget(&name),
                    Err(_) => {
                        self.is_whole = false;
                        self.forget(&name);
                    }
                }
                continue;
            }
            let Some(left) = way.pop() else { break };
            self.forget(&left.name);
            if let (Some(above), Some(below)) = (way.last_mut(), left.open)
                && above.open.is_none()
            {
                above.open = readable(below.as_fd(), c"..").ok().filter(|dir| is_of(above.identity, dir));
            }
        }
        Ok(())
    }

    /// Opens the lowest directories of the way again, from the top down. Where one is not there any more, what is below it
    /// is left out.
    fn find_again(&mut self, way: &mut Vec<Level>) -> Outcome<()> {
        let mut here = readable(self.top.as_fd(), c".")?;
        let opened_from = way.len().saturating_sub(MOST_OPEN);
        for at in 0..way.len() {
            if self.is_late() {
                return Ok(());
            }
            let Level { name, identity, .. } = &way[at];
            match readable(here.as_fd(), name).ok().filter(|dir| is_of(*identity, dir)) {
                Some(dir) => {
                    let above = std::mem::replace(&mut here, dir);
                    if at > opened_from {
                        way[at - 1].open = Some(above);
                    }
                }
                None => {
                    self.is_whole = false;
                    for lost in way.drain(at..) {
                        self.forget(&lost.name);
                        lost.waiting.iter().for_each(|name| self.forget(name));
                    }
                    break;
                }
            }
        }
        if let Some(lowest) = way.last_mut() {
            lowest.open = Some(here);
        }
        Ok(())
    }

    /// Counts what is in a directory, and notes the directories among it.
    fn enter(&mut self, talk: &mut Talk, dir: OwnedFd, name: CString) -> Outcome<Level> {
        let mut waiting = Vec::new();
        let entries = match Dir::read_from(&dir) {
            // It was taken away meanwhile.
            Err(Errno::NOENT) => None,
            entries => Some(entries?),
        };
        for entry in entries.into_iter().flatten() {
            let Ok(entry) = entry else {
                self.is_whole = false;
                break;
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            talk.still()?;
            if self.is_late() {
                break;
            }
            let Ok(stat) = statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            self.bytes = self.bytes.saturating_add(share(&stat));
            if kind(&stat) != Kind::Directory {
                continue;
            }
            if self.remembered >= MOST_REMEMBERED {
                self.is_whole = false;
                continue;
            }
            self.remembered += REMEMBERED + name.to_bytes().len();
            waiting.push(name.to_owned());
        }
        Ok(Level { name, identity: identity(&fstat(&dir)?), open: Some(dir), waiting })
    }

    fn forget(&mut self, name: &CString) {
        self.remembered = self.remembered.saturating_sub(REMEMBERED + name.as_bytes().len());
    }

    /// Whether the time is over, and something is left out so.
    fn is_late(&mut self) -> bool {
        let is_late = Instant::now() >= self.until;
        self.is_whole &= !is_late;
        is_late
    }
}

fn is_of(wanted: (u64, u64), dir: &OwnedFd) -> bool {
    fstat(dir).is_ok_and(|stat| identity(&stat) == wanted)
}

fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev, stat.st_ino)
}

/// Bytes on the disk, which may be more than the size says, of something with several names in equal shares.
#[allow(clippy::useless_conversion, reason = "the count of names has 32 bits on other processors")]
fn share(stat: &Stat) -> u64 {
    let blocks = u64::try_from(stat.st_blocks).unwrap_or_default().saturating_mul(512);
    let names = if kind(stat) == Kind::Directory { 1 } else { u64::from(stat.st_nlink).max(1) };
    OF_ITSELF.saturating_add(blocks / names)
}
