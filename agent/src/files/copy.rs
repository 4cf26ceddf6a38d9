//! The same once more, where a new name is not enough.

use std::ffi::CStr;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{
    AtFlags, Dir, Mode, OFlags, Timespec, Timestamps, chownat, fchmod, fchown, fstat, futimens, mkdirat, openat,
    readlinkat, symlinkat, utimensat,
};
use rustix::io::Errno;

use super::DEEPEST;
use super::place::{group, info, kind, look_at, readable, user};
use super::read::{content, regular};
use super::talk::{Outcome, Trouble};
use super::write::write_all;
use podgate_agent::protocol::files::{FILES_CHUNK, Info, Kind, Reason, Time};

/// Copies a file, a link, or a directory and all in it, with owners, modes and times, to a name that is free.
pub(super) fn copy(
    still: &mut dyn FnMut() -> Outcome<()>,
    from: BorrowedFd<'_>,
    name: &CStr,
    to: BorrowedFd<'_>,
    new_name: &CStr,
    depth: usize,
) -> Outcome<()> {
    still()?;
    let stat = look_at(from, name)?.ok_or(Errno::NOENT)?;
    match kind(&stat) {
        Kind::File => copy_file(still, from, name, to, new_name),
        Kind::Link => {
            symlinkat(readlinkat(from, name, Vec::new())?, to, new_name)?;
            adorn_link(to, new_name, &info(&stat))
        }
        Kind::Directory if depth > DEEPEST => Err(Trouble::of(Reason::TooDeep)),
        Kind::Directory => {
            let source = readable(from, name)?;
            mkdirat(to, new_name, Mode::RWXU)?;
            let target = readable(to, new_name)?;
            for entry in Dir::read_from(&source)? {
                let entry = entry?;
                let name = entry.file_name();
                if !matches!(name.to_bytes(), b"." | b"..") {
                    copy(still, source.as_fd(), name, target.as_fd(), name, depth + 1)?;
                }
            }
            adorn(target.as_fd(), &info(&fstat(&source)?))
        }
        _ => Err(Trouble::of(Reason::Special)),
    }
}

fn copy_file(
    still: &mut dyn FnMut() -> Outcome<()>,
    from: BorrowedFd<'_>,
    name: &CStr,
    to: BorrowedFd<'_>,
    new_name: &CStr,
) -> Outcome<()> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let source = openat(from, name, flags, Mode::empty())?;
    let stat = fstat(&source)?;
    regular(&stat)?;
    content(&source)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let target = openat(to, new_name, flags, Mode::RUSR | Mode::WUSR)?;
    let mut buffer = vec![0; FILES_CHUNK];
    loop {
        still()?;
        match rustix::io::read(&source, &mut buffer[..]) {
            Ok(0) => break,
            Ok(count) => write_all(&target, &buffer[..count])?,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    adorn(target.as_fd(), &info(&stat))
}

/// Owner, mode and time of what is open.
pub(super) fn adorn(open: BorrowedFd<'_>, info: &Info) -> Outcome<()> {
    fchown(open, user(info.owner), group(info.owner))?;
    fchmod(open, Mode::from_raw_mode(info.mode))?;
    Ok(futimens(open, &times(info.version.modified))?)
}

/// Owner and time of a link, which has no mode.
pub(super) fn adorn_link(dir: BorrowedFd<'_>, name: &CStr, info: &Info) -> Outcome<()> {
    chownat(dir, name, user(info.owner), group(info.owner), AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(utimensat(dir, name, &times(info.version.modified), AtFlags::SYMLINK_NOFOLLOW)?)
}

fn times(modified: Time) -> Timestamps {
    let time = Timespec { tv_sec: modified.seconds, tv_nsec: modified.nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
