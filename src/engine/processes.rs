//! A container's processes, told by the agent in it.
//!
//! Podman's `top` reads each command line whole, in its own memory. Forks share the pages of their arguments, so a hundred
//! of megabytes each cost a container next to nothing and Podman gigabytes (docs/decisions/0029).

use podgate_agent::protocol::processes::{Listed, MOST_COMMANDS, MOST_PROCESSES, Process};
use podgate_agent::protocol::{self, Decoder};

use super::exec::{Process as Program, Session, never_ran};
use super::frames::Output;
use super::hijack::{Hijacked, Outputs};
use super::live::without_agent;
use super::supervised::nonsense;
use super::{Deadline, Engine};
use crate::domain::{Error, ExecUser, Kind, Result};
use crate::policy::grant::ContainerGrant;

/// What the agent is started with.
const WORDS: [&str; 2] = [protocol::PATH, "processes"];

/// The exit code of an agent that does not know these words.
const UNKNOWN_WORDS: i64 = 64;

/// The most that is kept of Podman's own words.
const MOST_WORDS: usize = 4096;

/// The processes of a container, as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// What the columns are.
    pub titles: Vec<String>,
    /// A row each.
    pub processes: Vec<Vec<String>>,
}

const TITLES: [&str; 8] = ["USER", "PID", "PPID", "%CPU", "RSS", "ELAPSED", "STATE", "COMMAND"];

impl Engine {
    /// Its processes. `Conflict` if it does not run, is paused, has no agent, or can have no process more.
    pub async fn top(&self, grant: &ContainerGrant, deadline: Deadline) -> Result<Processes> {
        if !self.has_agent(grant) {
            let status = self.status(grant, deadline).await?;
            let error = if status.is_running() { without_agent() } else { super::stats::not_running() };
            return Err(error);
        }
        let root = ExecUser::parse("0:0").map_err(Error::internal)?;
        let words = WORDS.map(str::to_owned);
        let program = Program { words: &words, user: Some(&root), environment: Vec::new(), workdir: Some("/") };
        let (session, connection) = self.start_process(grant, program, deadline).await?;
        // Its input ends with this.
        let Hijacked { input: _input, mut outputs } = connection;
        let mut words = Vec::new();
        let heard = deadline.bound(hear(&mut outputs, &mut words)).await;
        match heard {
            Ok(Some(found)) => Ok(table(&found)),
            Ok(None) => Err(self.why_unlisted(grant, &session, &words).await?),
            Err(error) => Err(self.broken(grant, error).await),
        }
    }

    /// Why the agent ended without a list.
    async fn why_unlisted(&self, grant: &ContainerGrant, session: &Session, words: &[u8]) -> Result<Error> {
        let (code, stopped) = self.lost(grant, session).await?;
        Ok(match never_ran(code, words) {
            Some(error) if error.kind == Kind::NoCommand => without_agent(),
            Some(error) => error.said(Kind::Conflict, "the container's agent cannot be started in it"),
            None if stopped => Error::new(Kind::Conflict, "the container stopped meanwhile"),
            None if code == UNKNOWN_WORDS => without_agent(),
            None => nonsense().because(format!("it ended with {code}: {}", String::from_utf8_lossy(words))),
        })
    }
}

/// All that is listed; none where it ends before. Whoever is root in a container may be its agent: no more is taken than an
/// agent says.
async fn hear(outputs: &mut Outputs, words: &mut Vec<u8>) -> Result<Option<Vec<Process>>> {
    let mut decoder = Decoder::<Listed>::default();
    let (mut found, mut room) = (Vec::new(), MOST_COMMANDS);
    while let Some((output, bytes)) = outputs.next().await? {
        if output == Output::Stderr {
            words.extend_from_slice(&bytes[..bytes.len().min(MOST_WORDS - words.len())]);
            continue;
        }
        decoder.push(&bytes);
        while let Some(listed) = decoder.next().map_err(|_| nonsense())? {
            let Listed::Process(process) = listed else { return Ok(Some(found)) };
            room = room.checked_sub(process.command.len()).ok_or_else(nonsense)?;
            if found.len() >= MOST_PROCESSES {
                return Err(nonsense());
            }
            found.push(process);
        }
    }
    Ok(None)
}

fn table(found: &[Process]) -> Processes {
    Processes { titles: TITLES.map(str::to_owned).to_vec(), processes: found.iter().map(row).collect() }
}

fn row(process: &Process) -> Vec<String> {
    let user = if process.user == 0 { "root".into() } else { process.user.to_string() };
    let share = process.cpu_ms as f64 * 100.0 / process.elapsed_ms.max(1) as f64;
    vec![
        user,
        process.pid.to_string(),
        process.parent.to_string(),
        format!("{share:.3}"),
        (process.resident / 1024).to_string(),
        elapsed(process.elapsed_ms),
        char::from(process.state).to_string(),
        command(process),
    ]
}

/// Its words with a blank between them; of one that has none, its name in brackets, as ps has it.
fn command(Process { command, name, .. }: &Process) -> String {
    let words = command.strip_suffix(b"\0").unwrap_or(command);
    if words.is_empty() {
        return format!("[{}]", String::from_utf8_lossy(name));
    }
    let words: Vec<u8> = words.iter().map(|byte| if *byte == 0 { b' ' } else { *byte }).collect();
    String::from_utf8_lossy(&words).into_owned()
}

/// `2h3m4.5s`.
fn elapsed(ms: u64) -> String {
    let (minutes, ms) = (ms / 60_000, ms % 60_000);
    let seconds = format!("{}s", ms as f64 / 1000.0);
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process() -> Process {
        Process {
            pid: 7,
            parent: 1,
            user: 1000,
            state: b'S',
            cpu_ms: 250,
            elapsed_ms: 1000,
            resident: 1_060_864,
            command: b"sh\0-c\0a\tb\0".into(),
            name: b"sh".into(),
        }
    }

    #[test]
    fn a_row_is_as_its_titles_say() {
        assert_eq!(row(&process()), ["1000", "7", "1", "25.000", "1036", "1s", "S", "sh -c a\tb"]);
        assert_eq!(TITLES.len(), row(&process()).len());
        let kernels = Process { user: 0, elapsed_ms: 0, cpu_ms: 0, command: Vec::new(), ..process() };
        assert_eq!(row(&kernels), ["root", "7", "1", "0.000", "1036", "0s", "S", "[sh]"]);
    }

    #[test]
    fn time_is_told_in_the_largest_units() {
        for (ms, said) in [(12_507, "12.507s"), (61_000, "1m1s"), (7_384_500, "2h3m4.5s"), (3_600_000, "1h0m0s")] {
            assert_eq!(elapsed(ms), said);
        }
    }
}
