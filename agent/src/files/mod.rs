//! Files of the container, at the gateway's word: run as root of the container, in it or in another that has its file
//! system at a directory, which is entered first.
//!
//! The file system is hostile: its owner may swap any name for a link, a pipe or a directory at any moment. So nothing is
//! opened but for what it is, waiting for nobody; a name is looked up once, and then held by its directory; and what is
//! written has no name until it is whole.

mod copy;
mod list;
mod measure;
mod pack;
mod place;
mod read;
mod remove;
mod rename;
mod talk;
mod unpack;
mod write;

use rustix::fd::OwnedFd;
use rustix::fs::{CWD, Mode, OFlags, openat};

use podgate_agent::protocol::files::{Ask, FILES_VERSION, Tell};
use talk::{Outcome, Talk, Trouble};

/// Levels of directories that are walked down: each keeps a file open.
const DEEPEST: usize = 200;

/// What begins the name of whatever is not finished.
const UNFINISHED: &str = ".podgate-";

/// The directory of the agent itself, in the root of a container, which belongs to nobody there.
const OWN: &[u8] = b".podgate";

/// Answers one question after another until nobody is there any more.
///
/// # Errors
/// Where the directory cannot be entered.
pub fn serve(root: Option<&str>) -> std::io::Result<()> {
    rustix::process::umask(Mode::empty());
    // Held open, because another root has none.
    let own_files =
        openat(CWD, "/proc/self/fd", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok();
    if let Some(root) = root {
        rustix::process::chroot(root)?;
        rustix::process::chdir("/")?;
    }
    let mut server = Server { talk: Talk::default(), own_files, opened: None };
    // Whoever is gone needs no answer.
    let _ = server.talk.tell(&Tell::Ready(FILES_VERSION)).and_then(|()| server.run());
    Ok(())
}

struct Server {
    talk: Talk,
    /// `/proc/self/fd`, by which a file without a name gets one.
    own_files: Option<OwnedFd>,
    /// What `Open` opened last.
    opened: Option<OwnedFd>,
}

impl Server {
    fn run(&mut self) -> Outcome<()> {
        loop {
            let ask = self.talk.next()?;
            let answer = match self.answer(ask) {
                Ok(None) => continue,
                Ok(Some(answer)) => answer,
                Err(Trouble::Refused(refusal)) => Tell::Refused(refusal),
                Err(Trouble::Forgotten) => Tell::Done(0),
                Err(Trouble::Gone) => return Err(Trouble::Gone),
            };
            self.talk.tell(&answer)?;
        }
    }

    fn answer(&mut self, ask: Ask) -> Outcome<Option<Tell>> {
        match ask {
            Ask::Look { path, follow } => place::look(&path, follow),
            Ask::List { path, after, limit } => list::list(&mut self.talk, &path, after, limit),
            Ask::Open { path } => {
                self.opened = None;
                let (file, info) = read::open(&path)?;
                self.opened = Some(file);
                Ok(Tell::Info(info, false))
            }
            Ask::Read { from, length } => read::read(&mut self.talk, self.opened.as_ref(), from, length),
            Ask::Write(write) => write::write(&mut self.talk, &write, self.own_files.as_ref()),
            Ask::Remove { path, recursive } => remove::remove(&mut self.talk, &path, recursive),
            Ask::MakeDirectory { path, parents, mode, owner } => place::make_directory(&path, parents, mode, owner),
            Ask::Move { from, to, replace, token } => rename::rename(&mut self.talk, &from, &to, replace, token),
            Ask::Measure { path, within_ms } => measure::measure(&mut self.talk, &path, within_ms),
            Ask::Pack { path } => pack::pack(&mut self.talk, &path),
            Ask::Unpack { path, token } => unpack::unpack(&mut self.talk, &path, token),
            Ask::Forget => Ok(Tell::Done(0)),
            // What was on its way when its beginning was refused.
            Ask::Entry(_) | Ask::Data(_) | Ask::Finish | Ask::Heard => return Ok(None),
        }
        .map(Some)
    }
}
