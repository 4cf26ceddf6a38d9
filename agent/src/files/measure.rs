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

/// Directories that wait for their turn: their names have to fit into memory.
const MOST_WAITING: usize = 1_000_000;

/// A directory on the way down, and those in it that were not looked into yet.
struct Level {
    identity: (u64, u64),
    waiting: Vec<CString>,
}

/// One directory is open at a time, so depth costs no files; the way up is `..`, and where that leads elsewhere, because
/// somebody moved a directory, the rest is not found.
struct Walk {
    bytes: u64,
    is_whole: bool,
    waiting: usize,
    until: Instant,
}

pub(super) fn measure(talk: &mut Talk, path: &[u8], within_ms: u64) -> Outcome<Tell> {
    let now = Instant::now();
    let until = now.checked_add(Duration::from_millis(within_ms)).unwrap_or(now);
    let mut walk = Walk { bytes: 0, is_whole: true, waiting: 0, until };
    walk.all_below(talk, readable(directory(CWD, path)?.as_fd(), c".")?)?;
    Ok(Tell::Measured(walk.bytes, walk.is_whole))
}

impl Walk {
    fn all_below(&mut self, talk: &mut Talk, top: OwnedFd) -> Outcome<()> {
        let mut here = top;
        let mut way = vec![self.enter(talk, &here)?];
        while let Some(level) = way.last_mut() {
            if Instant::now() >= self.until {
                self.is_whole = false;
                return Ok(());
            }
            if let Some(name) = level.waiting.pop() {
                self.waiting -= 1;
                match readable(here.as_fd(), &name) {
                    Ok(below) => {
                        way.push(self.enter(talk, &below)?);
                        here = below;
                    }
                    // It was taken away, or is something else by now.
                    Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                    Err(_) => self.is_whole = false,
                }
                continue;
            }
            way.pop();
            let Some(above) = way.last() else { break };
            here = readable(here.as_fd(), c"..")?;
            if identity(&fstat(&here)?) != above.identity {
                self.is_whole = false;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Counts what is in a directory, and notes the directories among it.
    fn enter(&mut self, talk: &mut Talk, dir: &OwnedFd) -> Outcome<Level> {
        let mut level = Level { identity: identity(&fstat(dir)?), waiting: Vec::new() };
        for entry in Dir::read_from(dir)? {
            let Ok(entry) = entry else {
                self.is_whole = false;
                break;
            };
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            talk.still()?;
            if Instant::now() >= self.until {
                self.is_whole = false;
                break;
            }
            let Ok(stat) = statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            self.bytes = self.bytes.saturating_add(share(&stat));
            if kind(&stat) != Kind::Directory {
                continue;
            }
            if self.waiting >= MOST_WAITING {
                self.is_whole = false;
                continue;
            }
            self.waiting += 1;
            level.waiting.push(name.to_owned());
        }
        Ok(level)
    }
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
