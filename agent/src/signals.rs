//! No signal but SIGKILL reaches the agent: all are blocked, and a child's end is read from a file descriptor.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};

/// Blocks every signal; what is readable when a child has changed.
#[allow(unsafe_code)]
pub fn block_all() -> io::Result<OwnedFd> {
    let (mut all, mut children) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: both sets are made by the first calls on them; the descriptor is new and nobody else's.
    unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::sigemptyset(children.as_mut_ptr());
        libc::sigaddset(children.as_mut_ptr(), libc::SIGCHLD);
        if libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), std::ptr::null_mut()) < 0 {
            return Err(io::Error::last_os_error());
        }
        match libc::signalfd(-1, children.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            fd => Ok(OwnedFd::from_raw_fd(fd)),
        }
    }
}

/// For the command to be: all signals as a new process has them.
#[allow(unsafe_code)]
pub fn reset() {
    let mut none = MaybeUninit::uninit();
    // SAFETY: the set is made by the first call on it. Rust's runtime ignores SIGPIPE; nothing else was changed.
    unsafe {
        libc::sigemptyset(none.as_mut_ptr());
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        libc::sigprocmask(libc::SIG_SETMASK, none.as_ptr(), std::ptr::null_mut());
    }
}

/// Forgets that children have changed.
pub fn drain(children: &OwnedFd) {
    let mut told = [0; 1024];
    while rustix::io::read(children, &mut told).is_ok_and(|read| read > 0) {}
}
