//! The content of a regular file.

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, fstat, openat2, statat};
use rustix::io::{Errno, pread};

use super::place::{info, is_view, kind};
use super::talk::{Outcome, Talk, Trouble};
use podgate_agent::protocol::files::{FILES_CHUNK, Info, Kind, Reason, Tell};

/// Opens it, links followed. What is no regular file is not opened: a device might do something, and a pipe waits for
/// whoever writes.
pub(super) fn open(path: &[u8]) -> Outcome<(OwnedFd, Info)> {
    regular(&statat(CWD, path, AtFlags::empty())?)?;
    // Should it have become a pipe since, nobody waits.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let stat = fstat(&file)?;
    regular(&stat)?;
    content(&file)?;
    Ok((file, info(&stat)))
}

/// What the kernel makes up as it is read has no size to promise.
pub(super) fn content(file: &OwnedFd) -> Outcome<()> {
    if is_view(file) { Err(Trouble::of(Reason::Special)) } else { Ok(()) }
}

pub(super) fn regular(stat: &Stat) -> Outcome<()> {
    match kind(stat) {
        Kind::File => Ok(()),
        Kind::Directory => Err(Trouble::of(Reason::Directory)),
        _ => Err(Trouble::of(Reason::Special)),
    }
}

pub(super) fn read(talk: &mut Talk, file: Option<&OwnedFd>, from: u64, length: u64) -> Outcome<Tell> {
    let file = file.ok_or(Errno::BADF)?;
    send(talk, file, from, length)?;
    Ok(Tell::Done(length))
}

/// Exactly so many bytes, or `Shrunk`.
pub(super) fn send(talk: &mut Talk, file: &OwnedFd, from: u64, length: u64) -> Outcome<()> {
    let (mut at, end) = (from, from.saturating_add(length));
    while at < end {
        talk.still()?;
        let wanted = usize::try_from(end - at).unwrap_or(FILES_CHUNK).min(FILES_CHUNK);
        let mut bytes = vec![0; wanted];
        let count = match pread(file, &mut bytes[..], at) {
            Ok(0) => return Err(Trouble::of(Reason::Shrunk)),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        bytes.truncate(count);
        at += count as u64;
        talk.tell(&Tell::Data(bytes))?;
    }
    Ok(())
}
