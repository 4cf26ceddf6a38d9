//! The entries of a directory, some at a time.

use std::collections::BTreeSet;

use rustix::fd::AsFd;
use rustix::fs::{CWD, Dir, Mode, OFlags, ResolveFlags, openat2};

use super::OWN;
use super::place::{info_at, look_at};
use super::talk::{Outcome, Talk};
use podgate_agent::protocol::files::{Entry, Tell};

/// Names between two looks at whether the answer is wanted still.
const BITE: usize = 1024;

/// However large the directory is, no more names are kept than are asked for.
pub(super) fn list(talk: &mut Talk, path: &[u8], after: Option<Vec<u8>>, limit: u32) -> Outcome<Tell> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let dir = openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS)?;
    let limit = limit as usize;
    let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut more = false;
    for (count, entry) in Dir::read_from(&dir)?.enumerate() {
        if count % BITE == 0 {
            talk.still()?;
        }
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        let is_own = path == b"/" && name == OWN;
        if name == b"." || name == b".." || is_own || after.as_ref().is_some_and(|after| name <= &after[..]) {
            continue;
        }
        if names.len() < limit {
            names.insert(name.to_vec());
        } else {
            more = true;
            if names.last().is_some_and(|last| name < &last[..]) {
                names.insert(name.to_vec());
                names.pop_last();
            }
        }
    }
    for name in names {
        let Ok(c_name) = std::ffi::CString::new(&name[..]) else { continue };
        // One that is gone meanwhile is none.
        if let Some(stat) = look_at(dir.as_fd(), &c_name)?
            && let Ok(info) = info_at(dir.as_fd(), &c_name, &stat)
        {
            talk.tell(&Tell::Entry(Entry { name, info }))?;
        }
    }
    Ok(Tell::Done(u64::from(more)))
}
