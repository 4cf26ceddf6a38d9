//! What became of it.

use super::codec::{Fields, Frame, Malformed};

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Report {
    /// The command runs, or the peer answered.
    Started,
    /// It does not, and nothing is left of it. The last report.
    Failed(Failure),
    /// What it said, at most [`super::CHUNK`] bytes. A terminal and a peer have only one stream.
    Output(Stream, Vec<u8>),
    /// So many more bytes of input were taken.
    Credit(u32),
    /// It ended, and all that it started. The last report.
    Ended(Ended),
}

/// Where something was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Why it was not started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    /// Over what.
    pub stage: Stage,
    /// Linux's number for the error.
    pub errno: u32,
}

/// Where starting can fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Making pipes, a terminal or a process.
    Prepare,
    /// Entering the working directory.
    Directory,
    /// Executing the program.
    Execute,
    /// Connecting to the port.
    Connect,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub cause: Cause,
    /// The command's exit code, where it ended by itself or on being told to.
    pub exit_code: Option<u8>,
    /// The signal that ended it instead.
    pub signal: Option<u8>,
    /// Milliseconds since it was started.
    pub duration_ms: u64,
    /// Bytes said on standard output, passed on or not.
    pub stdout_bytes: u64,
    /// Bytes said on standard error, passed on or not.
    pub stderr_bytes: u64,
    /// Processes that had to be killed.
    pub killed: u32,
    /// Processes that could not be killed within five seconds, because the kernel holds them.
    pub left: u32,
}

/// Why a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// By itself.
    Itself,
    /// Its time was up.
    Deadline,
    /// It said more than it may.
    Overflow,
    /// The gateway wanted it so.
    Killed,
}

impl Frame for Report {
    const LONGEST: usize = 64 * 1024;

    fn write(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Started => 65,
            Self::Failed(Failure { stage, errno }) => {
                out.push(*stage as u8);
                out.extend_from_slice(&errno.to_be_bytes());
                66
            }
            Self::Output(stream, bytes) => {
                out.extend_from_slice(bytes);
                match stream {
                    Stream::Stdout => 67,
                    Stream::Stderr => 68,
                }
            }
            Self::Credit(bytes) => {
                out.extend_from_slice(&bytes.to_be_bytes());
                69
            }
            Self::Ended(ended) => {
                ended.write(out);
                70
            }
        }
    }

    fn read(kind: u8, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            65 => Self::Started,
            66 => Self::Failed(Failure { stage: Stage::read(fields)?, errno: fields.number()? }),
            67 => Self::Output(Stream::Stdout, fields.rest()),
            68 => Self::Output(Stream::Stderr, fields.rest()),
            69 => Self::Credit(fields.number()?),
            70 => Self::Ended(Ended::read(fields)?),
            _ => return Err(Malformed),
        })
    }
}

impl Stage {
    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let all = [Self::Prepare, Self::Directory, Self::Execute, Self::Connect];
        let found = fields.byte()?;
        all.into_iter().find(|stage| *stage as u8 == found).ok_or(Malformed)
    }
}

impl Cause {
    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let all = [Self::Itself, Self::Deadline, Self::Overflow, Self::Killed];
        let found = fields.byte()?;
        all.into_iter().find(|cause| *cause as u8 == found).ok_or(Malformed)
    }
}

impl Ended {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.cause as u8);
        for byte in [self.exit_code, self.signal] {
            out.extend_from_slice(&[u8::from(byte.is_some()), byte.unwrap_or_default()]);
        }
        for long in [self.duration_ms, self.stdout_bytes, self.stderr_bytes] {
            out.extend_from_slice(&long.to_be_bytes());
        }
        for number in [self.killed, self.left] {
            out.extend_from_slice(&number.to_be_bytes());
        }
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let cause = Cause::read(fields)?;
        let mut byte = || match (fields.byte()?, fields.byte()?) {
            (0, 0) => Ok(None),
            (1, byte) => Ok(Some(byte)),
            _ => Err(Malformed),
        };
        Ok(Self {
            cause,
            exit_code: byte()?,
            signal: byte()?,
            duration_ms: fields.long()?,
            stdout_bytes: fields.long()?,
            stderr_bytes: fields.long()?,
            killed: fields.number()?,
            left: fields.number()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Decoder;
    use proptest::prelude::*;

    #[test]
    fn what_is_reported_is_heard() {
        let ended = Ended {
            cause: Cause::Overflow,
            exit_code: None,
            signal: Some(9),
            duration_ms: 1,
            stdout_bytes: u64::MAX,
            stderr_bytes: 0,
            killed: 3,
            left: 0,
        };
        let said = [
            Report::Started,
            Report::Failed(Failure { stage: Stage::Execute, errno: 2 }),
            Report::Output(Stream::Stdout, b"a\0".to_vec()),
            Report::Output(Stream::Stderr, Vec::new()),
            Report::Credit(7),
            Report::Ended(ended),
        ];
        let mut bytes = Vec::new();
        said.iter().for_each(|report| report.encode(&mut bytes));
        let mut decoder = Decoder::<Report>::default();
        decoder.push(&bytes);
        for expected in said {
            assert_eq!(decoder.next(), Ok(Some(expected)));
        }
        assert_eq!(decoder.next(), Ok(None));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>, kind in 64_u8..72) {
            let mut decoder = Decoder::<Report>::default();
            decoder.push(&[&[kind, 0, 0, 0, u8::try_from(bytes.len()).unwrap_or(255)], bytes.as_slice()].concat());
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
