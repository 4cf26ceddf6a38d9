//! As bytes.

use super::{Ask, Entry, Expect, Info, Kind, LONGEST, Owner, Reason, Refusal, Tell, Time, Version, Write};
use crate::protocol::codec::{Fields, Frame, Malformed, put_bytes, put_optional};

impl Reason {
    pub(super) const ALL: [Self; 19] = [
        Self::Absent,
        Self::NoDirectory,
        Self::Directory,
        Self::Special,
        Self::Exists,
        Self::NotEmpty,
        Self::ReadOnly,
        Self::Mounted,
        Self::Full,
        Self::Denied,
        Self::Circle,
        Self::Outside,
        Self::Amiss,
        Self::Changed,
        Self::TooLong,
        Self::TooDeep,
        Self::Shrunk,
        Self::Within,
        Self::Failed,
    ];

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let found = fields.byte()?;
        Self::ALL.into_iter().find(|reason| *reason as u8 == found).ok_or(Malformed)
    }
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::File, Self::Directory, Self::Link, Self::HardLink, Self::Fifo, Self::Socket, Self::Device];

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let found = fields.byte()?;
        Self::ALL.into_iter().find(|kind| *kind as u8 == found).ok_or(Malformed)
    }
}

impl Frame for Ask {
    const LONGEST: usize = LONGEST;

    fn write(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Look { path, follow } => {
                put_bytes(out, path);
                out.push(u8::from(*follow));
                129
            }
            Self::List { path, after, limit } => {
                put_bytes(out, path);
                put_optional(out, after.as_ref(), |out, name| put_bytes(out, name));
                out.extend_from_slice(&limit.to_be_bytes());
                130
            }
            Self::Open { path } => {
                put_bytes(out, path);
                131
            }
            Self::Read { from, length } => {
                out.extend_from_slice(&from.to_be_bytes());
                out.extend_from_slice(&length.to_be_bytes());
                132
            }
            Self::Write(write) => {
                write.write(out);
                133
            }
            Self::Remove { path, recursive } => {
                put_bytes(out, path);
                out.push(u8::from(*recursive));
                134
            }
            Self::MakeDirectory { path, parents, mode, owner } => {
                put_bytes(out, path);
                out.push(u8::from(*parents));
                out.extend_from_slice(&mode.to_be_bytes());
                owner.write(out);
                135
            }
            Self::Move { from, to, replace, token } => {
                put_bytes(out, from);
                put_bytes(out, to);
                out.push(u8::from(*replace));
                out.extend_from_slice(&token.to_be_bytes());
                136
            }
            Self::Pack { path } => {
                put_bytes(out, path);
                137
            }
            Self::Unpack { path, token } => {
                put_bytes(out, path);
                out.extend_from_slice(&token.to_be_bytes());
                138
            }
            Self::Entry(entry) => {
                entry.write(out);
                139
            }
            Self::Data(bytes) => {
                out.extend_from_slice(bytes);
                140
            }
            Self::Finish => 141,
            Self::Forget => 142,
            Self::Heard => 143,
            Self::Measure { path, within_ms } => {
                put_bytes(out, path);
                out.extend_from_slice(&within_ms.to_be_bytes());
                144
            }
        }
    }

    fn read(kind: u8, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            129 => Self::Look { path: fields.bytes()?, follow: fields.flag()? },
            130 => {
                Self::List { path: fields.bytes()?, after: fields.optional(Fields::bytes)?, limit: fields.number()? }
            }
            131 => Self::Open { path: fields.bytes()? },
            132 => Self::Read { from: fields.long()?, length: fields.long()? },
            133 => Self::Write(Write::read(fields)?),
            134 => Self::Remove { path: fields.bytes()?, recursive: fields.flag()? },
            135 => Self::MakeDirectory {
                path: fields.bytes()?,
                parents: fields.flag()?,
                mode: fields.number()?,
                owner: Owner::read(fields)?,
            },
            136 => Self::Move {
                from: fields.bytes()?,
                to: fields.bytes()?,
                replace: fields.flag()?,
                token: fields.long()?,
            },
            137 => Self::Pack { path: fields.bytes()? },
            138 => Self::Unpack { path: fields.bytes()?, token: fields.long()? },
            139 => Self::Entry(Entry::read(fields)?),
            140 => Self::Data(fields.rest()),
            141 => Self::Finish,
            142 => Self::Forget,
            143 => Self::Heard,
            144 => Self::Measure { path: fields.bytes()?, within_ms: fields.long()? },
            _ => return Err(Malformed),
        })
    }
}

impl Frame for Tell {
    const LONGEST: usize = LONGEST;

    fn write(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Self::Ready(version) => {
                out.push(*version);
                193
            }
            Self::Info(info, made) => {
                info.write(out);
                out.push(u8::from(*made));
                194
            }
            Self::Entry(entry) => {
                entry.write(out);
                195
            }
            Self::Data(bytes) => {
                out.extend_from_slice(bytes);
                196
            }
            Self::Done(number) => {
                out.extend_from_slice(&number.to_be_bytes());
                197
            }
            Self::Busy => 198,
            Self::Refused(Refusal { reason, errno }) => {
                out.push(*reason as u8);
                out.extend_from_slice(&errno.to_be_bytes());
                199
            }
            Self::Measured(bytes, is_whole) => {
                out.extend_from_slice(&bytes.to_be_bytes());
                out.push(u8::from(*is_whole));
                200
            }
        }
    }

    fn read(kind: u8, fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(match kind {
            193 => Self::Ready(fields.byte()?),
            194 => Self::Info(Info::read(fields)?, fields.flag()?),
            195 => Self::Entry(Entry::read(fields)?),
            196 => Self::Data(fields.rest()),
            197 => Self::Done(fields.long()?),
            198 => Self::Busy,
            199 => Self::Refused(Refusal { reason: Reason::read(fields)?, errno: fields.number()? }),
            200 => Self::Measured(fields.long()?, fields.flag()?),
            _ => return Err(Malformed),
        })
    }
}

impl Write {
    fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.path);
        put_optional(out, self.mode.as_ref(), |out, mode| out.extend_from_slice(&mode.to_be_bytes()));
        put_optional(out, self.owner.as_ref(), |out, owner| owner.write(out));
        match &self.expect {
            Expect::Anything => out.push(0),
            Expect::Nothing => out.push(1),
            Expect::Version(version) => {
                out.push(2);
                version.write(out);
            }
        }
        out.extend_from_slice(&self.token.to_be_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            path: fields.bytes()?,
            mode: fields.optional(Fields::number)?,
            owner: fields.optional(Owner::read)?,
            expect: match fields.byte()? {
                0 => Expect::Anything,
                1 => Expect::Nothing,
                2 => Expect::Version(Version::read(fields)?),
                _ => return Err(Malformed),
            },
            token: fields.long()?,
        })
    }
}

impl Owner {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.user.to_be_bytes());
        out.extend_from_slice(&self.group.to_be_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self { user: fields.number()?, group: fields.number()? })
    }
}

impl Time {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.seconds.to_be_bytes());
        out.extend_from_slice(&self.nanoseconds.to_be_bytes());
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        let seconds = i64::from_be_bytes(fields.long()?.to_be_bytes());
        let nanoseconds = fields.number()?;
        if nanoseconds < 1_000_000_000 { Ok(Self { seconds, nanoseconds }) } else { Err(Malformed) }
    }
}

impl Version {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.inode.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        self.modified.write(out);
        self.changed.write(out);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            inode: fields.long()?,
            size: fields.long()?,
            modified: Time::read(fields)?,
            changed: Time::read(fields)?,
        })
    }
}

impl Info {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        out.extend_from_slice(&self.mode.to_be_bytes());
        self.owner.write(out);
        self.version.write(out);
        put_bytes(out, &self.target);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            kind: Kind::read(fields)?,
            mode: fields.number()?,
            owner: Owner::read(fields)?,
            version: Version::read(fields)?,
            target: fields.bytes()?,
        })
    }
}

impl Entry {
    fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.name);
        self.info.write(out);
    }

    fn read(fields: &mut Fields<'_>) -> Result<Self, Malformed> {
        Ok(Self { name: fields.bytes()?, info: Info::read(fields)? })
    }
}
