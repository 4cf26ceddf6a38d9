//! Everything that the command started: found, and killed.

use std::collections::HashSet;
use std::fs;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpid, kill_process, wait};

use crate::{signals, stat};

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Threads' and clones' children as well, whatever signal tells of their end.
const ALL: WaitOptions = WaitOptions::from_bits_retain(0x4000_0000);

/// What a look at the children gave.
pub enum Reaped {
    /// This one ended.
    One(Pid, WaitStatus),
    /// None ended; some live.
    Living,
    /// There are none. Orphans become children of ours, so nothing that was started lives.
    None,
}

/// Takes the status of a child that ended.
pub fn reap() -> Reaped {
    loop {
        match wait(WaitOptions::NOHANG | ALL) {
            Ok(Some((pid, status))) => return Reaped::One(pid, status),
            Ok(None) => return Reaped::Living,
            Err(Errno::INTR) => {}
            Err(_) => return Reaped::None,
        }
    }
}

/// Takes the status of every child that ended; false if no child is left.
pub fn reap_all(mut ended: impl FnMut(Pid, WaitStatus)) -> bool {
    loop {
        match reap() {
            Reaped::One(pid, status) => ended(pid, status),
            Reaped::Living => return true,
            Reaped::None => return false,
        }
    }
}

/// Kills everything that descends from this process until nothing of it is left: how many were killed, and how many the
/// kernel would not let go.
pub fn kill_all(children: &OwnedFd, mut ended: impl FnMut(Pid, WaitStatus)) -> (u32, u32) {
    let begun = Instant::now();
    let mut killed = HashSet::new();
    let count = |set: &HashSet<Pid>| u32::try_from(set.len()).unwrap_or(u32::MAX);
    while reap_all(&mut ended) {
        let living = stop_all();
        if begun.elapsed() > PATIENCE {
            return (count(&killed), count(&living));
        }
        for pid in living {
            if kill_process(pid, Signal::KILL).is_ok() {
                killed.insert(pid);
            }
        }
        await_change(children);
    }
    (count(&killed), 0)
}

/// Stops all descendants that live, so that none starts another behind our back: what forks faster than it is killed is
/// caught so. Only where all that were found were found before is there nothing new.
fn stop_all() -> HashSet<Pid> {
    let mut stopped = HashSet::new();
    loop {
        let mut fresh = false;
        for pid in descendants() {
            if stopped.insert(pid) {
                fresh = true;
                let _ = kill_process(pid, Signal::STOP);
            }
        }
        if !fresh {
            return stopped;
        }
    }
}

/// Descendants that live, parents before their children where their ids are in that order.
fn descendants() -> Vec<Pid> {
    let mut parents: Vec<(Pid, Pid, bool)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let pid = entry.file_name().to_str().and_then(|name| name.parse().ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid
            && let Some((parent, lives)) = fs::read(entry.path().join("stat")).ok().as_deref().and_then(parent)
        {
            parents.push((pid, parent, lives));
        }
    }
    let mut ours = HashSet::from([getpid()]);
    let mut found = Vec::new();
    loop {
        let before = ours.len();
        for (pid, parent, lives) in &parents {
            if ours.contains(parent) && ours.insert(*pid) && *lives {
                found.push(*pid);
            }
        }
        if ours.len() == before {
            return found;
        }
    }
}

/// The parent of a process, and whether it is more than an exit code.
fn parent(text: &[u8]) -> Option<(Pid, bool)> {
    let (_, fields) = stat::parse(text)?;
    let [state, parent, ..] = fields[..] else { return None };
    Some((Pid::from_raw(parent.parse().ok()?)?, !matches!(state, "Z" | "X")))
}

/// Waits a moment for a child to end.
fn await_change(children: &OwnedFd) {
    let moment = Timespec { tv_sec: 0, tv_nsec: 10_000_000 };
    let _ = poll(&mut [PollFd::new(children, PollFlags::IN)], Some(&moment));
    signals::drain(children);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_pretend_to_be_a_state() {
        let parent = |text: &str| parent(text.as_bytes()).map(|(pid, lives)| (pid.as_raw_nonzero().get(), lives));
        assert_eq!(parent("7 (sh) S 3 7 7 0"), Some((3, true)));
        assert_eq!(parent("7 (a) S 1 (b) Z 3 7"), Some((3, false)));
        assert_eq!(parent("1 (init) S 0 1 1"), None);
        assert_eq!(parent("nonsense"), None);
    }
}
