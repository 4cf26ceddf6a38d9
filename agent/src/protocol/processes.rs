//! What `podgate-agent processes` says: one [`Listed::Process`] for each process that it sees, but for itself, in the order
//! of their numbers, and [`Listed::End`]. It is asked nothing.

use super::codec::{Fields, Frame, Malformed, put_bytes};

/// Most processes that are told of.
pub const MOST_PROCESSES: usize = 4096;

/// Most bytes of one command line.
pub const MOST_COMMAND: usize = 4096;

/// Most bytes of all command lines. Whatever comes then is told by its name, as the kernel knows it.
pub const MOST_COMMANDS: usize = 1024 * 1024;

/// One thing said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listed {
    /// One process.
    Process(Process),
    /// These were all.
    End,
}

/// A process, in numbers of its container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its parent's; 0 for one that is elsewhere.
    pub parent: u32,
    /// Its effective user.
    pub user: u32,
    /// The kernel's letter for how it is.
    pub state: u8,
    /// Milliseconds of processors' time that it took.
    pub cpu_ms: u64,
    /// Milliseconds since it began.
    pub elapsed_ms: u64,
    /// Bytes of memory that it has at hand.
    pub resident: u64,
    /// Its words, a NUL behind each, as far as they are told; none of one that has none.
    pub command: Vec<u8>,
    /// Its name.
    pub name: Vec<u8>,
}

impl Frame for Listed {
    const LONGEST: usize = MOST_COMMAND + 256;

    fn write(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Process(process) => {
                for number in [process.pid, process.parent, process.user] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
                out.push(process.state);
                for number in [process.cpu_ms, process.elapsed_ms, process.resident] {
                    out.extend_from_slice(&number.to_be_bytes());
                }
                put_bytes(out, &process.command);
                put_bytes(out, &process.name);
                225
            }
            Self::End => 226,
        }
    }

    fn read(kind: u8, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        match kind {
            225 => Ok(Self::Process(Process {
                pid: fields.number()?,
                parent: fields.number()?,
                user: fields.number()?,
                state: fields.byte()?,
                cpu_ms: fields.long()?,
                elapsed_ms: fields.long()?,
                resident: fields.long()?,
                command: fields.bytes()?,
                name: fields.bytes()?,
            })),
            226 => Ok(Self::End),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Decoder;

    #[test]
    fn what_is_said_is_heard() {
        let process = Process {
            pid: 1,
            parent: 0,
            user: 1000,
            state: b'S',
            cpu_ms: 10,
            elapsed_ms: u64::MAX,
            resident: 4096,
            command: vec![b'x'; MOST_COMMAND],
            name: b"a name".into(),
        };
        let said = [Listed::Process(process), Listed::End];
        let mut bytes = Vec::new();
        said.iter().for_each(|frame| frame.encode(&mut bytes));
        let mut decoder = Decoder::<Listed>::default();
        decoder.push(&bytes);
        let heard: Vec<Listed> = std::iter::from_fn(|| decoder.next().unwrap()).collect();
        assert_eq!(heard, said);
    }
}
