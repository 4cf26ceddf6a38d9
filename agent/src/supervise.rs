//! From the first order to the last report.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use podgate_agent::protocol::{CHUNK, Cause, Ended, Order, Report, Start, Stream};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitStatus, getpid, kill_process_group, set_child_subreaper};

use crate::child::{self, Child, resize, signalled_group};
use crate::link::Link;
use crate::pipes::{Input, Output, Said};
use crate::{peer, signals, tree};

/// How long what a command leaves behind may take to end by itself, and say its last words.
const LINGER: Duration = Duration::from_millis(200);

/// How long the gateway may take to hang up.
const HANG_UP: Duration = Duration::from_secs(2);

/// Carries out one order and all that belongs to it.
pub fn run() -> io::Result<()> {
    let children = signals::block_all()?;
    set_child_subreaper(Some(getpid()))?;
    let mut link = Link::new()?;
    let session = match first_order(&mut link)? {
        None => return Ok(()),
        Some(Order::Start(start)) => child::start(&start).map(|child| Work::of_child(child, &start)),
        Some(Order::Connect(port)) => peer::connect(port).map(|(input, output)| Work::of_peer(input, output)),
        Some(_) => return Err(io::Error::other("the first order is none that can be")),
    };
    match session {
        Ok(work) => Session { link, children, work }.run(),
        Err(failure) => tell(&mut link, &Report::Failed(failure)),
    }
}

/// Waits for it; none if nobody is there.
fn first_order(link: &mut Link) -> io::Result<Option<Order>> {
    loop {
        if let Some(order) = link.next() {
            return Ok(Some(order));
        }
        if link.is_gone() {
            return Ok(None);
        }
        wait(&mut [PollFd::new(&Link::ends().0, PollFlags::IN)], None)?;
        link.receive();
    }
}

/// Says the last word, and waits until whoever heard it hangs up: what is written just before the end of a process,
/// conmon loses now and then.
fn tell(link: &mut Link, last: &Report) -> io::Result<()> {
    link.report(last);
    let mut patience = None;
    while !link.is_gone() && patience.is_none_or(|until| Instant::now() < until) {
        let (orders, reports) = Link::ends();
        let mut fds = vec![PollFd::new(&orders, PollFlags::IN)];
        if link.has_waiting() {
            fds.push(PollFd::new(&reports, PollFlags::OUT));
        } else {
            patience = patience.or(Some(Instant::now() + HANG_UP));
        }
        wait(&mut fds, patience)?;
        link.receive();
        while link.next().is_some() {}
        link.send();
    }
    Ok(())
}

/// Waits until one of them is ready, or until the time has come.
fn wait(fds: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<()> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(fds, left.as_ref()) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// What is supervised.
struct Work {
    main: Main,
    terminal: Option<OwnedFd>,
    input: Input,
    outputs: Vec<Output>,
    begun: Instant,
    deadline: Option<Instant>,
    /// Bytes that it may still say.
    room: u64,
    said: [u64; 2],
    overflowed: bool,
    to_be_killed: bool,
}

/// Whose end is the end.
enum Main {
    /// A command that runs.
    Child(Pid),
    /// A command that ended, when what it left behind is no longer waited for, and whether nothing is left of it.
    Ended(WaitStatus, Instant, bool),
    /// Whoever is at the other end of a connection.
    Peer,
}

impl Work {
    fn new(main: Main, input: Input, outputs: Vec<Output>) -> Self {
        Self {
            main,
            terminal: None,
            input,
            outputs,
            begun: Instant::now(),
            deadline: None,
            room: u64::MAX,
            said: [0; 2],
            overflowed: false,
            to_be_killed: false,
        }
    }

    fn of_child(Child { pid, input, outputs, terminal }: Child, start: &Start) -> Self {
        let work = Self::new(Main::Child(pid), input, outputs);
        // A time that no clock reaches is none.
        let deadline = start.timeout_ms.and_then(|time| work.begun.checked_add(Duration::from_millis(time)));
        Self { terminal, deadline, room: start.max_output.unwrap_or(u64::MAX), ..work }
    }

    fn of_peer(input: Input, output: Output) -> Self {
        Self::new(Main::Peer, input, vec![output])
    }

    /// Why it has come to an end, if it has.
    fn cause(&self, now: Instant) -> Option<Cause> {
        let late = self.deadline.is_some_and(|deadline| deadline <= now);
        match &self.main {
            _ if self.overflowed => Some(Cause::Overflow),
            _ if self.to_be_killed => Some(Cause::Killed),
            Main::Ended(_, linger, alone) => (*alone || *linger <= now || late).then_some(Cause::Itself),
            Main::Peer if self.outputs.is_empty() => Some(Cause::Itself),
            Main::Child(_) | Main::Peer => late.then_some(Cause::Deadline),
        }
    }

    /// When there may be a cause without anything happening.
    fn alarm(&self) -> Option<Instant> {
        let linger = if let Main::Ended(_, linger, _) = &self.main { Some(*linger) } else { None };
        [self.deadline, linger].into_iter().flatten().min()
    }

    /// Learns which children ended.
    fn reap(&mut self) {
        let Self { main, .. } = self;
        let mut ended = |pid, status| {
            if matches!(main, Main::Child(child) if *child == pid) {
                *main = Main::Ended(status, Instant::now() + LINGER, false);
            }
        };
        let some_left = tree::reap_all(&mut ended);
        if let Main::Ended(_, _, alone) = main {
            *alone = !some_left;
        }
    }

    /// The last report.
    fn ended(&self, cause: Cause, killed: u32, left: u32) -> Ended {
        let status = if let Main::Ended(status, ..) = &self.main { Some(status) } else { None };
        let small = |number: Option<i32>| number.and_then(|number| u8::try_from(number).ok());
        let [stdout_bytes, stderr_bytes] = self.said;
        Ended {
            cause,
            exit_code: small(status.and_then(|status| status.exit_status())),
            signal: small(status.and_then(|status| status.terminating_signal())),
            duration_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            stdout_bytes,
            stderr_bytes,
            killed,
            left,
        }
    }
}

struct Session {
    link: Link,
    children: OwnedFd,
    work: Work,
}

impl Session {
    fn run(mut self) -> io::Result<()> {
        self.link.report(&Report::Started);
        let cause = loop {
            self.act();
            if self.link.is_gone() {
                break None;
            }
            match self.work.cause(Instant::now()) {
                None => self.await_something()?,
                cause => break cause,
            }
        };
        let main = &mut self.work.main;
        let (killed, left) = tree::kill_all(&self.children, |pid, status| {
            if matches!(main, Main::Child(child) if *child == pid) {
                *main = Main::Ended(status, Instant::now(), true);
            }
        });
        // Where nobody is there, nobody is told.
        let Some(cause) = cause else { return Ok(()) };
        self.drain()?;
        let cause = if self.work.overflowed { Cause::Overflow } else { cause };
        tell(&mut self.link, &Report::Ended(self.work.ended(cause, killed, left)))
    }

    /// Does all that can be done now. Nothing of it blocks.
    fn act(&mut self) {
        signals::drain(&self.children);
        self.work.reap();
        self.link.receive();
        while let Some(order) = self.link.next() {
            self.obey(order);
        }
        self.link.send();
        self.pass_input();
        self.listen(false);
    }

    /// Waits until there is something to do.
    fn await_something(&self) -> io::Result<()> {
        let (orders, reports) = Link::ends();
        let mut fds = vec![PollFd::new(&orders, PollFlags::IN), PollFd::new(&self.children, PollFlags::IN)];
        if self.link.has_waiting() {
            fds.push(PollFd::new(&reports, PollFlags::OUT));
        }
        fds.extend(self.work.input.wants().map(|fd| PollFd::new(fd, PollFlags::OUT)));
        if self.link.has_room() {
            fds.extend(self.work.outputs.iter().map(|output| PollFd::new(&output.fd, PollFlags::IN)));
        }
        wait(&mut fds, [self.work.alarm(), self.link.alarm()].into_iter().flatten().min())
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Input(bytes) => {
                if !self.work.input.push(&bytes) {
                    self.link.give_up();
                }
            }
            Order::InputEnd => self.work.input.end(),
            Order::Signal(number) => self.signal(number),
            Order::Resize(size) => {
                if let Some(terminal) = &self.work.terminal {
                    let _ = resize(terminal, size);
                }
            }
            Order::Kill => self.work.to_be_killed = true,
            // That it came is all.
            Order::Alive => {}
            Order::Start(_) | Order::Connect(_) => self.link.give_up(),
        }
    }

    fn signal(&self, number: u8) {
        if let Main::Child(pid) = self.work.main
            && let Some(signal) = Signal::from_named_raw(number.into())
        {
            let terminal = self.work.terminal.as_ref().map(AsFd::as_fd);
            let _ = kill_process_group(signalled_group(pid, terminal), signal);
        }
    }

    fn pass_input(&mut self) {
        let passed = self.work.input.pass();
        if passed > 0 {
            self.link.report(&Report::Credit(u32::try_from(passed).unwrap_or(u32::MAX)));
        }
    }

    /// Passes on what was said, as far as there is room. `to_the_end`: whoever has nothing to say now never will.
    fn listen(&mut self, to_the_end: bool) {
        let mut bytes = [0; CHUNK];
        let Self { link, work, .. } = self;
        work.outputs.retain(|output| {
            if !link.has_room() {
                return true;
            }
            match output.read(&mut bytes) {
                Said::Bytes(count) => {
                    let long = count as u64;
                    work.said[usize::from(output.stream == Stream::Stderr)] += long;
                    let fits = usize::try_from(work.room).map_or(count, |room| room.min(count));
                    work.overflowed |= fits < count;
                    work.room -= fits as u64;
                    if fits > 0 {
                        link.report(&Report::Output(output.stream, bytes[..fits].to_vec()));
                    }
                    true
                }
                Said::NothingNow => !to_the_end,
                Said::Ended => false,
            }
        });
    }

    /// Passes on what is left in the pipes of those that ended. A pipe that somebody else holds open has no end.
    fn drain(&mut self) -> io::Result<()> {
        while !self.work.outputs.is_empty() && !self.work.overflowed && !self.link.is_gone() {
            if !self.link.has_room() {
                let (orders, reports) = Link::ends();
                wait(&mut [PollFd::new(&orders, PollFlags::IN), PollFd::new(&reports, PollFlags::OUT)], None)?;
                self.link.receive();
                while self.link.next().is_some() {}
                self.link.send();
            }
            self.listen(true);
        }
        Ok(())
    }
}
