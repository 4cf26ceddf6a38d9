//! A tree, one entry after another.

use std::collections::HashMap;

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Dir, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use super::place::{Place, info, info_at, is_view, kind, look_at, readable};
use super::read::{regular, send};
use super::talk::{Outcome, Talk, Trouble};
use super::{DEEPEST, OWN};
use podgate_agent::protocol::files::{Entry, Info, Kind, Reason, Tell};

/// Files with several names of which the first is known, at most. The rest are sent once for each name.
const MOST_NAMES: usize = 65_536;

/// Names in the tree begin with the last of the path; that of the root, which has none, with nothing.
pub(super) fn pack(talk: &mut Talk, path: &[u8]) -> Outcome<Tell> {
    let place = Place::find(path)?;
    let is_root = path == b"/";
    let name = if is_root { Vec::new() } else { place.name.to_bytes().to_vec() };
    let stat = place.look()?.ok_or(Errno::NOENT)?;
    let mut packer = Packer { talk, names: HashMap::new(), skip_own: is_root };
    match kind(&stat) {
        Kind::File if is_view(&place.dir) => return Err(Trouble::of(Reason::Special)),
        Kind::File | Kind::Directory | Kind::Link => packer.pack(place.dir.as_fd(), &place.name, &name, 0)?,
        _ => return Err(Trouble::of(Reason::Special)),
    }
    Ok(Tell::Done(0))
}

struct Packer<'a> {
    talk: &'a mut Talk,
    /// The first name of each file that has several, by device and number.
    names: HashMap<(u64, u64), Vec<u8>>,
    skip_own: bool,
}

impl Packer<'_> {
    /// What is neither file, directory nor link is left out, and so is what is gone by now.
    fn pack(&mut self, dir: BorrowedFd<'_>, name: &std::ffi::CStr, path: &[u8], depth: usize) -> Outcome<()> {
        self.talk.still()?;
        let Some(stat) = look_at(dir, name)? else { return Ok(()) };
        match kind(&stat) {
            Kind::File => self.pack_file(dir, name, path),
            Kind::Link => match info_at(dir, name, &stat) {
                Ok(info) => self.entry(path, info),
                Err(_) => Ok(()),
            },
            Kind::Directory if depth > DEEPEST => Err(Trouble::of(Reason::TooDeep)),
            Kind::Directory => self.pack_directory(dir, name, path, depth),
            _ => Ok(()),
        }
    }

    fn pack_file(&mut self, dir: BorrowedFd<'_>, name: &std::ffi::CStr, path: &[u8]) -> Outcome<()> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match openat(dir, name, flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT | Errno::LOOP | Errno::NXIO) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        let stat = fstat(&file)?;
        if regular(&stat).is_err() || is_view(&file) {
            return Ok(());
        }
        let info = info(&stat);
        if stat.st_nlink > 1 {
            let id = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.names.get(&id) {
                return self.entry(path, Info { kind: Kind::HardLink, target: first.clone(), ..info });
            }
            if self.names.len() < MOST_NAMES {
                self.names.insert(id, path.to_vec());
            }
        }
        let size = info.version.size;
        self.entry(path, info)?;
        send(self.talk, &file, 0, size)
    }

    fn pack_directory(
        &mut self,
        above: BorrowedFd<'_>,
        name: &std::ffi::CStr,
        path: &[u8],
        depth: usize,
    ) -> Outcome<()> {
        let dir = match readable(above, name) {
            Ok(dir) => dir,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        };
        if !path.is_empty() {
            self.entry(path, info(&fstat(&dir)?))?;
        }
        if is_view(&dir) {
            return Ok(());
        }
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") || (self.skip_own && depth == 0 && name == OWN) {
                continue;
            }
            let path = if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() };
            self.pack(dir.as_fd(), entry.file_name(), &path, depth + 1)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &[u8], info: Info) -> Outcome<()> {
        self.talk.tell(&Tell::Entry(Entry { name: path.to_vec(), info }))
    }
}
