//! Starting the command.

use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString, c_char};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use podgate_agent::protocol::{Failure, Size, Stage, Start, Stream};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, chdir, ioctl_tiocsctty, set_parent_process_death_signal, setsid};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use crate::pipes::{Input, Kind, Output};
use crate::signals;

/// A command that runs.
pub struct Child {
    pub pid: Pid,
    pub input: Input,
    pub outputs: Vec<Output>,
    /// Our side of its terminal.
    pub terminal: Option<OwnedFd>,
}

/// Where programs are looked for where the environment does not say.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Starts the command in a session of its own. When this returns, its program is executed, or nothing is left of it.
pub fn start(start: &Start) -> Result<Child, Failure> {
    let plan = Plan::new(start)?;
    let ends = Ends::new(start.terminal)?;
    let (failed, tell) = pipe_with(PipeFlags::CLOEXEC).map_err(preparing)?;
    let pid = fork().map_err(preparing)?;
    let Some(pid) = pid else {
        let Failure { stage, errno } = plan.carry_out(&ends);
        let mut told = [stage as u8; 5];
        told[1..].copy_from_slice(&errno.to_ne_bytes());
        let _ = rustix::io::write(&tell, &told);
        exit_now();
    };
    drop(tell);
    if let Some(failure) = failure(&failed) {
        let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
        return Err(failure);
    }
    let input = Input::new(ends.input, ends.kind).map_err(|_| preparing(Errno::IO))?;
    let outputs = ends.outputs.into_iter().map(|(fd, stream)| Output::new(fd, stream));
    let outputs = outputs.collect::<Result<_, _>>().map_err(|_| preparing(Errno::IO))?;
    Ok(Child { pid, input, outputs, terminal: ends.terminal })
}

/// What the child told before it ended; none if its program was executed, which closes the pipe.
fn failure(failed: &OwnedFd) -> Option<Failure> {
    let mut told = [0; 5];
    let read = loop {
        match rustix::io::read(failed, &mut told) {
            Err(Errno::INTR) => {}
            other => break other,
        }
    };
    let [stage, errno @ ..] = told;
    let all = [Stage::Prepare, Stage::Directory, Stage::Execute];
    let stage = all.into_iter().find(|known| *known as u8 == stage)?;
    (read == Ok(told.len())).then_some(Failure { stage, errno: u32::from_ne_bytes(errno) })
}

fn preparing(error: Errno) -> Failure {
    failed(Stage::Prepare, error)
}

fn failed(stage: Stage, error: Errno) -> Failure {
    Failure { stage, errno: error.raw_os_error().unsigned_abs() }
}

/// The parent's and the child's ends of what the child reads and writes.
struct Ends {
    input: OwnedFd,
    outputs: Vec<(OwnedFd, Stream)>,
    kind: Kind,
    terminal: Option<OwnedFd>,
    /// The child's standard input, output and error.
    theirs: [OwnedFd; 3],
}

impl Ends {
    fn new(terminal: Option<Size>) -> Result<Self, Failure> {
        match terminal {
            Some(size) => Self::terminal(size),
            None => Self::pipes(),
        }
        .map_err(preparing)
    }

    fn pipes() -> Result<Self, Errno> {
        let (their_input, input) = pipe_with(PipeFlags::CLOEXEC)?;
        let (output, their_output) = pipe_with(PipeFlags::CLOEXEC)?;
        let (error, their_error) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Self {
            input,
            outputs: vec![(output, Stream::Stdout), (error, Stream::Stderr)],
            kind: Kind::Pipe,
            terminal: None,
            theirs: [their_input, their_output, their_error],
        })
    }

    fn terminal(size: Size) -> Result<Self, Errno> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let ours = openpt(flags)?;
        grantpt(&ours)?;
        unlockpt(&ours)?;
        let theirs = ioctl_tiocgptpeer(&ours, flags)?;
        resize(&ours, size)?;
        let again = |fd: &OwnedFd| rustix::io::fcntl_dupfd_cloexec(fd, 3);
        Ok(Self {
            input: again(&ours)?,
            outputs: vec![(again(&ours)?, Stream::Stdout)],
            kind: Kind::Terminal,
            terminal: Some(ours),
            theirs: [again(&theirs)?, again(&theirs)?, theirs],
        })
    }
}

/// Tells a terminal how large its window is.
pub fn resize(terminal: impl AsFd, size: Size) -> Result<(), Errno> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size)
}

/// Everything that executing needs, made before the fork.
struct Plan {
    workdir: Option<CString>,
    /// Each program's possible places, and its arguments.
    commands: Vec<(Vec<CString>, Vec<CString>)>,
    environment: Vec<CString>,
}

impl Plan {
    fn new(start: &Start) -> Result<Self, Failure> {
        let invalid = |_| failed(Stage::Execute, Errno::INVAL);
        let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        if start.terminal.is_some() {
            variables.entry("TERM".into()).or_insert_with(|| "xterm".into());
        }
        variables.extend(start.environment.iter().map(|(name, value)| (name.into(), value.into())));
        let path = variables.get(OsStr::new("PATH")).cloned().unwrap_or_else(|| PATH.into());
        let mut commands = Vec::new();
        for words in &start.commands {
            let program = words.first().ok_or_else(|| failed(Stage::Execute, Errno::INVAL))?;
            let places = places(program, &path).into_iter().map(CString::new).collect::<Result<_, _>>();
            let words = words.iter().map(|word| CString::new(word.as_str())).collect::<Result<_, _>>();
            commands.push((places.map_err(invalid)?, words.map_err(invalid)?));
        }
        let assignments = variables.into_iter().map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            CString::new(name.into_vec())
        });
        let workdir = start.workdir.as_deref().map(CString::new).transpose();
        Ok(Self {
            workdir: workdir.map_err(|_| failed(Stage::Directory, Errno::INVAL))?,
            commands,
            environment: assignments.collect::<Result<_, _>>().map_err(invalid)?,
        })
    }

    /// Becomes the command. Returns only if that fails.
    fn carry_out(&self, ends: &Ends) -> Failure {
        match self.try_to(ends) {
            Ok(never) => match never {},
            Err(failure) => failure,
        }
    }

    fn try_to(&self, ends: &Ends) -> Result<Never, Failure> {
        // Should the agent be killed, its nearest is as well.
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(preparing)?;
        setsid().map_err(preparing)?;
        let [input, output, error] = &ends.theirs;
        if ends.terminal.is_some() {
            ioctl_tiocsctty(input).map_err(preparing)?;
        }
        rustix::stdio::dup2_stdin(input).map_err(preparing)?;
        rustix::stdio::dup2_stdout(output).map_err(preparing)?;
        rustix::stdio::dup2_stderr(error).map_err(preparing)?;
        if let Some(workdir) = &self.workdir {
            chdir(workdir.as_c_str()).map_err(|error| failed(Stage::Directory, error))?;
        }
        signals::reset();
        let mut last = Errno::NOENT;
        for (places, words) in &self.commands {
            last = execute(places, words, &self.environment);
            if !matches!(last, Errno::NOENT | Errno::NOTDIR) {
                break;
            }
        }
        Err(failed(Stage::Execute, last))
    }
}

enum Never {}

/// Where a program may be: as execvp has it, but for shell scripts that do not say so.
fn places(program: &str, path: &OsStr) -> Vec<Vec<u8>> {
    if program.contains('/') || program.is_empty() {
        return vec![program.into()];
    }
    let directories = path.as_bytes().split(|byte| *byte == b':');
    let place = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        Path::new(OsStr::from_bytes(directory)).join(program).into_os_string().into_vec()
    };
    directories.map(place).collect()
}

/// Executes the first of these that is there; the error if none is, or if that may not be executed.
#[allow(unsafe_code)]
fn execute(places: &[CString], words: &[CString], environment: &[CString]) -> Errno {
    let pointers = |texts: &[CString]| -> Vec<*const c_char> {
        texts.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect()
    };
    let (words, environment) = (pointers(words), pointers(environment));
    let mut forbidden = false;
    for place in places {
        // SAFETY: the pointers lead to strings that outlive the call, the last of each to none.
        unsafe { libc::execve(place.as_ptr(), words.as_ptr(), environment.as_ptr()) };
        match Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO) {
            Errno::NOENT | Errno::NOTDIR => {}
            Errno::ACCESS => forbidden = true,
            other => return other,
        }
    }
    if forbidden { Errno::ACCESS } else { Errno::NOENT }
}

/// The child's id; none in the child.
#[allow(unsafe_code)]
fn fork() -> Result<Option<Pid>, Errno> {
    // SAFETY: there is only one thread, so the child has all that the parent has.
    match unsafe { libc::fork() } {
        -1 => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)),
        pid => Ok(Pid::from_raw(pid)),
    }
}

/// Ends the child without what the parent would do at its end.
#[allow(unsafe_code)]
fn exit_now() -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(127) }
}

/// The process group that signals from outside are for: the terminal's foreground, else the command's own.
pub fn signalled_group(pid: Pid, terminal: Option<BorrowedFd<'_>>) -> Pid {
    terminal.and_then(|terminal| rustix::termios::tcgetpgrp(terminal).ok()).unwrap_or(pid)
}
