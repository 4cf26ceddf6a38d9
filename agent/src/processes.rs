//! The container's processes, read from its /proc as root of it.
//!
//! Of a command line no more is read than is told: a process may have one of megabytes, which costs it nothing once it
//! forks, and whoever reads all of it pays in full.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::statfs;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::time::{ClockId, clock_gettime};

use podgate_agent::protocol::Frame;
use podgate_agent::protocol::processes::{Listed, MOST_COMMAND, MOST_COMMANDS, MOST_PROCESSES, Process};

use crate::stat;

const PROC: &str = "/proc";

/// Its magic number, from linux/magic.h.
const PROC_MAGIC: u64 = 0x9fa0;

/// Bytes of `stat` and of what is needed of `status`: names are of 64 at most, what follows is numbers.
const MOST_STAT: usize = 2048;

/// Says what there is.
pub fn list() -> io::Result<()> {
    if statfs(PROC)?.f_type.cast_unsigned() != PROC_MAGIC {
        return Err(io::Error::other("no /proc"));
    }
    let mut said = Vec::new();
    let mut room = MOST_COMMANDS;
    for pid in numbers()? {
        // One that has ended meanwhile is none.
        let Some(mut process) = look(pid) else { continue };
        if process.command.len() > room {
            process.command.clear();
        }
        room -= process.command.len();
        Listed::Process(process).encode(&mut said);
    }
    Listed::End.encode(&mut said);
    io::stdout().write_all(&said)
}

/// The processes but for this one, the first ones of them.
fn numbers() -> io::Result<Vec<u32>> {
    let this = std::process::id();
    let names = fs::read_dir(PROC)?.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut numbers: Vec<u32> = names.filter(|number| *number != this).collect();
    numbers.sort_unstable();
    numbers.truncate(MOST_PROCESSES);
    Ok(numbers)
}

fn look(pid: u32) -> Option<Process> {
    let dir = Path::new(PROC).join(pid.to_string());
    let stat = Stat::parse(&beginning(&dir.join("stat"), MOST_STAT)?)?;
    let user = user(&beginning(&dir.join("status"), MOST_STAT)?)?;
    let command = beginning(&dir.join("cmdline"), MOST_COMMAND).unwrap_or_default();
    let ms = |ticks: u64| ticks.saturating_mul(1000) / clock_ticks_per_second().max(1);
    let now = clock_gettime(ClockId::Boottime);
    let now_ms = now.tv_sec.unsigned_abs() * 1000 + now.tv_nsec.unsigned_abs() / 1_000_000;
    Some(Process {
        pid,
        parent: stat.parent,
        user,
        state: stat.state,
        cpu_ms: ms(stat.ticks),
        elapsed_ms: now_ms.saturating_sub(ms(stat.began)),
        resident: stat.pages.saturating_mul(page_size() as u64),
        command,
        name: stat.name,
    })
}

/// So many bytes of a file at most.
fn beginning(path: &Path, most: usize) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(most);
    File::open(path).ok()?.take(most as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    name: Vec<u8>,
    state: u8,
    parent: u32,
    ticks: u64,
    began: u64,
    pages: u64,
}

impl Stat {
    fn parse(text: &[u8]) -> Option<Self> {
        let (name, fields) = stat::parse(text)?;
        // As proc(5) counts them, of which two came before.
        let field = |number: usize| fields.get(number - 3).copied();
        let number = |number: usize| field(number)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_vec(),
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            ticks: number(14)?.saturating_add(number(15)?),
            began: number(22)?,
            pages: number(24)?,
        })
    }
}

/// The effective one.
fn user(status: &[u8]) -> Option<u32> {
    let line = status.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_be_anything() {
        let text = b"7 (a) Z (b\n) S 3 7 7 0 -1 0 0 0 0 0 20 3 0 0 20 0 1 0 500 1000 12 99\n";
        let stat = Stat::parse(text).unwrap();
        let expected = Stat { name: b"a) Z (b\n".into(), state: b'S', parent: 3, ticks: 23, began: 500, pages: 12 };
        assert_eq!(stat, expected);
        for text in ["", "7", "7 )(", "7 (x) S", "7 (x) S x"] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn a_user_is_the_effective_one() {
        assert_eq!(user(b"Name:\tUid:\nUid:\t1\t2\t3\t4\n"), Some(2));
        assert_eq!(user(b"Name:\tx\n"), None);
    }
}
