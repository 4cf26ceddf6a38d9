//! What the gateway wants.

use super::VERSION;
use super::codec::{Fields, Frame, Malformed, put_count, put_optional, put_text};

/// From the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Run a command. First, or not at all.
    Start(Start),
    /// Connect to this TCP port of the container's own loopback. First, or not at all.
    Connect(u16),
    /// Bytes for its standard input or the peer, at most [`super::CHUNK`].
    Input(Vec<u8>),
    /// There are no more. A terminal gets its end-of-file character.
    InputEnd,
    /// Send this signal, by its number, to the command's process group, or to the terminal's foreground.
    Signal(u8),
    /// The terminal's window is this large now.
    Resize(Size),
    /// End it all, and say how it went.
    Kill,
    /// What was said is heard, or will be.
    Alive,
}

/// What to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Start {
    /// Program and arguments; where the program is not there, the next of these.
    pub commands: Vec<Vec<String>>,
    /// Over what the container and Podman say.
    pub environment: Vec<(String, String)>,
    /// Where; the agent's own directory without.
    pub workdir: Option<String>,
    /// Milliseconds it may take.
    pub timeout_ms: Option<u64>,
    /// Bytes it may say on both streams together.
    pub max_output: Option<u64>,
    /// On a terminal of this size; on pipes without.
    pub terminal: Option<Size>,
}

/// A terminal's window, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in each.
    pub columns: u16,
}

impl Frame for Order {
    /// A command and another in its place, and an environment, each at most 128 KiB of text in many small pieces.
    const LONGEST: usize = 2 * 1024 * 1024;

    fn write(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Start(start) => {
                out.push(VERSION);
                start.write(out);
                1
            }
            Self::Connect(port) => {
                out.push(VERSION);
                out.extend_from_slice(&port.to_be_bytes());
                2
            }
            Self::Input(bytes) => {
                out.extend_from_slice(bytes);
                3
            }
            Self::InputEnd => 4,
            Self::Signal(number) => {
                out.push(*number);
                5
            }
            Self::Resize(size) => {
                size.write(out);
                6
            }
            Self::Kill => 7,
            Self::Alive => 8,
        }
    }

    fn read(kind: u8, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let mut version = || if fields.byte()? == VERSION { Ok(()) } else { Err(Malformed) };
        if matches!(kind, 1 | 2) {
            version()?;
        }
        Ok(match kind {
            1 => Self::Start(Start::read(fields)?),
            2 => Self::Connect(fields.short()?),
            3 => Self::Input(fields.rest()),
            4 => Self::InputEnd,
            5 => Self::Signal(fields.byte()?),
            6 => Self::Resize(Size::read(fields)?),
            7 => Self::Kill,
            8 => Self::Alive,
            _ => return Err(Malformed),
        })
    }
}

impl Start {
    fn write(&self, out: &mut Vec<u8>) {
        put_count(out, self.commands.len());
        for command in &self.commands {
            put_count(out, command.len());
            command.iter().for_each(|word| put_text(out, word));
        }
        put_count(out, self.environment.len());
        for (name, value) in &self.environment {
            put_text(out, name);
            put_text(out, value);
        }
        put_optional(out, self.workdir.as_ref(), |out, workdir| put_text(out, workdir));
        put_optional(out, self.timeout_ms.as_ref(), |out, time| out.extend_from_slice(&time.to_be_bytes()));
        put_optional(out, self.max_output.as_ref(), |out, bytes| out.extend_from_slice(&bytes.to_be_bytes()));
        put_optional(out, self.terminal.as_ref(), |out, size| size.write(out));
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            commands: fields.list(|fields| fields.list(Fields::text))?,
            environment: fields.list(|fields| Ok((fields.text()?, fields.text()?)))?,
            workdir: fields.optional(Fields::text)?,
            timeout_ms: fields.optional(Fields::long)?,
            max_output: fields.optional(Fields::long)?,
            terminal: fields.optional(Size::read)?,
        })
    }
}

impl Size {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.rows.to_be_bytes());
        out.extend_from_slice(&self.columns.to_be_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self { rows: fields.short()?, columns: fields.short()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Decoder;
    use proptest::prelude::*;

    fn orders() -> Vec<Order> {
        let start = Start {
            commands: vec![vec!["sh".into(), "-c".into(), "".into()], vec!["ä".into()]],
            environment: vec![("A".into(), "1=2".into())],
            workdir: Some("/tmp".into()),
            timeout_ms: Some(u64::MAX),
            max_output: None,
            terminal: Some(Size { rows: 24, columns: 80 }),
        };
        vec![
            Order::Start(start),
            Order::Start(Start::default()),
            Order::Connect(8080),
            Order::Input(vec![0, 255]),
            Order::Input(Vec::new()),
            Order::InputEnd,
            Order::Signal(15),
            Order::Resize(Size { rows: 1, columns: u16::MAX }),
            Order::Kill,
            Order::Alive,
        ]
    }

    #[test]
    fn what_is_said_is_heard_however_it_is_cut() {
        let mut bytes = Vec::new();
        orders().iter().for_each(|order| order.encode(&mut bytes));
        for piece in [1, 2, 7, bytes.len()] {
            let mut decoder = Decoder::<Order>::default();
            let mut heard = Vec::new();
            for piece in bytes.chunks(piece) {
                decoder.push(piece);
                while let Some(order) = decoder.next().unwrap() {
                    heard.push(order);
                }
            }
            assert_eq!(heard, orders());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |bytes: &[u8]| {
            let mut decoder = Decoder::<Order>::default();
            decoder.push(bytes);
            decoder.next()
        };
        assert_eq!(refused(&[0, 0, 0, 0, 0]), Err(Malformed), "no such kind");
        assert_eq!(refused(&[3, 255, 0, 0, 0]), Err(Malformed), "too long");
        assert_eq!(refused(&[7, 0, 0, 0, 1, 0]), Err(Malformed), "more than there should be");
        assert_eq!(refused(&[6, 0, 0, 0, 1, 0]), Err(Malformed), "less than there should be");
        assert_eq!(refused(&[2, 0, 0, 0, 3, VERSION + 1, 0, 80]), Err(Malformed), "another version");
        assert_eq!(refused(&[1, 0, 0, 0, 5, VERSION, 255, 255, 255, 255]), Err(Malformed), "a count of four billion");
        assert_eq!(refused(&[7, 0, 0, 0]), Ok(None));
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(bytes: Vec<u8>, kind in 0_u8..9) {
            let mut decoder = Decoder::<Order>::default();
            decoder.push(&[&[kind, 0, 0, 0, u8::try_from(bytes.len()).unwrap_or(255)], bytes.as_slice()].concat());
            while let Ok(Some(_)) = decoder.next() {}
        }
    }
}
