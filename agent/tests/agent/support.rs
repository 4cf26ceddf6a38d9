//! An agent as the gateway sees it.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use podgate_agent::protocol::{Decoder, Ended, Frame, Order, Report, Start, Stream};

/// Long enough for anything that will come at all, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Agent {
    child: Child,
    orders: Option<ChildStdin>,
    reports: ChildStdout,
    decoder: Decoder<Report>,
}

/// What became of a command, and all that it said.
#[derive(Debug, Default)]
pub struct Said {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub credit: u64,
    pub ended: Option<Ended>,
}

/// A command of these words.
pub fn command(words: &[&str]) -> Start {
    Start { commands: vec![words.iter().map(|word| (*word).to_owned()).collect()], ..Start::default() }
}

/// A command of a shell.
pub fn shell(text: &str) -> Start {
    command(&["/bin/sh", "-c", text])
}

impl Agent {
    pub fn new() -> Self {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_agent"));
        let mut child = agent.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (orders, reports) = (child.stdin.take(), child.stdout.take().unwrap());
        Self { child, orders, reports, decoder: Decoder::default() }
    }

    pub fn start(start: Start) -> Self {
        let mut agent = Self::new();
        agent.order(&Order::Start(start));
        agent
    }

    /// One that has started.
    pub fn started(start: Start) -> Self {
        let mut agent = Self::start(start);
        assert_eq!(agent.next(), Some(Report::Started));
        agent
    }

    pub fn order(&mut self, order: &Order) {
        let mut bytes = Vec::new();
        order.encode(&mut bytes);
        self.orders.as_mut().unwrap().write_all(&bytes).unwrap();
    }

    pub fn input(&mut self, text: &str) {
        self.order(&Order::Input(text.into()));
    }

    /// As when the connection is cut.
    pub fn cut(&mut self) {
        self.orders = None;
    }

    /// The next report; none when the agent has ended.
    pub fn next(&mut self) -> Option<Report> {
        loop {
            if let Some(report) = self.decoder.next().unwrap() {
                if let (Report::Output(..), Some(orders)) = (&report, &mut self.orders) {
                    let mut alive = Vec::new();
                    Order::Alive.encode(&mut alive);
                    // It may have ended.
                    let _ = orders.write_all(&alive);
                }
                if matches!(report, Report::Ended(_) | Report::Failed(_)) {
                    self.cut();
                }
                return Some(report);
            }
            let mut bytes = [0; 8192];
            let read = self.reports.read(&mut bytes).unwrap();
            if read == 0 {
                return None;
            }
            self.decoder.push(&bytes[..read]);
        }
    }

    /// Reads until standard output has had this.
    pub fn says(&mut self, words: &str) -> String {
        let mut said = Vec::new();
        while !String::from_utf8_lossy(&said).contains(words) {
            match self.next().expect("more output") {
                Report::Output(_, bytes) => said.extend(bytes),
                Report::Ended(ended) => panic!("{ended:?} after {:?}", String::from_utf8_lossy(&said)),
                _ => {}
            }
        }
        String::from_utf8(said).unwrap()
    }

    /// All that is said to the end.
    pub fn finish(mut self) -> Said {
        let mut said = Said::default();
        while let Some(report) = self.next() {
            match report {
                Report::Started => {}
                Report::Failed(failure) => panic!("{failure:?}"),
                Report::Output(Stream::Stdout, bytes) => said.stdout.extend(bytes),
                Report::Output(Stream::Stderr, bytes) => said.stderr.extend(bytes),
                Report::Credit(bytes) => said.credit += u64::from(bytes),
                Report::Ended(ended) => assert_eq!(said.ended.replace(ended), None),
            }
        }
        self.await_end();
        said
    }

    /// Waits until the agent itself is gone; how long that took.
    pub fn await_end(&mut self) -> Duration {
        let begun = Instant::now();
        eventually("the agent's end", || self.child.try_wait().unwrap().is_some());
        begun.elapsed()
    }

    /// Takes what it says for so long, or to its end, and says nothing. How many bytes that were.
    pub fn ignore(&mut self) -> u64 {
        std::io::copy(&mut self.reports, &mut std::io::sink()).unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Said {
    pub fn ended(&self) -> Ended {
        self.ended.expect("a last report")
    }

    pub fn stdout(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }
}

pub fn eventually(what: &str, mut ask: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !ask() {
        assert!(begun.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A word that no other process has in its arguments, and that `sleep` takes for a time.
pub fn marker() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("3{:08}", RandomState::new().hash_one(0) % 100_000_000)
}

/// How many processes have it.
pub fn alive(marker: &str) -> usize {
    let with_marker = |entry: std::io::Result<std::fs::DirEntry>| {
        let path = entry.ok()?.path();
        let words = std::fs::read(path.join("cmdline")).ok()?;
        let ours = path.file_name()?.to_str()? == std::process::id().to_string();
        (!ours && words.split(|byte| *byte == 0).any(|word| word == marker.as_bytes())).then_some(())
    };
    std::fs::read_dir("/proc").unwrap().filter_map(with_marker).count()
}
