//! What the gateway asks of `podgate-agent files`, and what it hears.
//!
//! The agent says [`Tell::Ready`] first, then answers one question after another, each with one [`Tell::Done`],
//! [`Tell::Info`], [`Tell::Measured`] or [`Tell::Refused`] at its end. [`Ask::Write`] and [`Ask::Unpack`] are followed by what is to be
//! written, and nothing of it is seen under its name before [`Ask::Finish`] was answered. [`Ask::Forget`] takes back
//! whatever was begun, and so does the end of the agent's input.
//!
//! That end may get lost on the way where much is said when the other side goes (conmon). So the gateway says [`Ask::Heard`]
//! after every [`HEARD_EVERY`] bytes, and an agent that said [`MOST_UNHEARD`] waits for a word.
//!
//! Paths are absolute, or relative to an archive's own directory, as bytes: Linux knows no other names.

mod wire;

#[cfg(test)]
mod tests;

/// Which language this is.
pub const FILES_VERSION: u8 = 2;

/// After how many bytes the gateway says that it hears.
pub const HEARD_EVERY: usize = 1024 * 1024;

/// How many bytes the agent says to nobody: with what the gateway may not have told yet, more than fits between them.
pub const MOST_UNHEARD: usize = 8 * 1024 * 1024;

/// The most bytes in one [`Ask::Data`] or [`Tell::Data`].
pub const FILES_CHUNK: usize = 64 * 1024;

/// Room for a chunk, or for a path and what it leads to.
const LONGEST: usize = FILES_CHUNK;

/// From the gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// What stands at a path; of what a link leads to where it says `follow`. Answered by `Info`.
    Look {
        /// Where.
        path: Vec<u8>,
        /// Whether the last link is followed.
        follow: bool,
    },
    /// The directory's next entries after this name, in the order of their bytes. Answered by `Entry` for each, and
    /// `Done` with 1 where there are more.
    List {
        /// Where.
        path: Vec<u8>,
        /// The last name that is known; none at first.
        after: Option<Vec<u8>>,
        /// Most entries.
        limit: u32,
    },
    /// Opens a regular file, links followed. Answered by `Info`.
    Open {
        /// Where.
        path: Vec<u8>,
    },
    /// Bytes of the file that was opened last. Answered by `Data`, and `Done`.
    Read {
        /// First byte.
        from: u64,
        /// How many.
        length: u64,
    },
    /// Begins a regular file. Answered by `Done`; then `Data`, and `Finish`, answered by `Info`.
    Write(Write),
    /// Removes a file, a link or a directory. Answered by `Done`.
    Remove {
        /// Where.
        path: Vec<u8>,
        /// Whether a directory may have something in it.
        recursive: bool,
    },
    /// Makes a directory. Answered by `Info`.
    MakeDirectory {
        /// Where.
        path: Vec<u8>,
        /// Whether those above it are made as well, and one that is there is fine.
        parents: bool,
        /// Permission bits.
        mode: u32,
        /// Whose.
        owner: Owner,
    },
    /// Gives something another name, elsewhere maybe. Answered by `Info`.
    Move {
        /// From where.
        from: Vec<u8>,
        /// To where.
        to: Vec<u8>,
        /// Whether a file that is there goes.
        replace: bool,
        /// Names what is not finished, where it has to be copied.
        token: u64,
    },
    /// All below a path, and itself, links not followed. Answered by `Entry`, with `Data` after each regular file's,
    /// and `Done`.
    Pack {
        /// Where.
        path: Vec<u8>,
    },
    /// How much of the disk a directory and all in it takes. Answered by `Measured`. Asked of an agent that came with
    /// whoever asks, so it is of no version.
    Measure {
        /// Where.
        path: Vec<u8>,
        /// Milliseconds it may take.
        within_ms: u64,
    },
    /// Begins to fill a directory. Answered by `Done`; then `Entry`, with `Data` after each regular file's, and
    /// `Finish`, answered by `Done`.
    Unpack {
        /// Where: a directory that exists.
        path: Vec<u8>,
        /// Names what is not finished.
        token: u64,
    },
    /// One of what `Unpack` began.
    Entry(Entry),
    /// Content, at most [`FILES_CHUNK`] bytes.
    Data(Vec<u8>),
    /// That was all.
    Finish,
    /// Nothing of it is wanted. Answered by `Done`, also where nothing was begun.
    Forget,
    /// Some of the answer came. Not answered, and may come at any time.
    Heard,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tell {
    /// It listens, and speaks this version.
    Ready(u8),
    /// What stands at a path now, and whether it was made just now.
    Info(Info, bool),
    /// One entry of a directory or of a tree.
    Entry(Entry),
    /// Content, at most [`FILES_CHUNK`] bytes.
    Data(Vec<u8>),
    /// The question is answered. A number where one was asked for.
    Done(u64),
    /// Bytes, and whether they are all: not where the time was too short or the directories changed under way.
    Measured(u64, bool),
    /// It is still at it.
    Busy,
    /// It cannot be, and nothing of it was done unless the question says otherwise.
    Refused(Refusal),
}

/// A regular file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Where; a link is followed.
    pub path: Vec<u8>,
    /// Permission bits; without, those of the file that it replaces, or 0644.
    pub mode: Option<u32>,
    /// Whose; without, as the file that it replaces, or root's.
    pub owner: Option<Owner>,
    /// What must stand there now.
    pub expect: Expect,
    /// Names what is not finished.
    pub token: u64,
}

/// What must stand where a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Whatever a file may replace.
    Anything,
    /// Nothing.
    Nothing,
    /// This very file.
    Version(Version),
}

/// Whose something is, by numbers of the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub user: u32,
    /// Group.
    pub group: u32,
}

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Time {
    /// Since 1970.
    pub seconds: i64,
    /// Beyond them.
    pub nanoseconds: u32,
}

/// What tells one content of a file from another, as far as a file system knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// Number within its file system.
    pub inode: u64,
    /// Bytes.
    pub size: u64,
    /// Of the content.
    pub modified: Time,
    /// Of anything about it.
    pub changed: Time,
}

/// What something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// Another name of a file that came before. Only in a tree.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device.
    Device,
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most 07777.
    pub mode: u32,
    /// Whose.
    pub owner: Owner,
    /// Number, size and times.
    pub version: Version,
    /// Where a link leads.
    pub target: Vec<u8>,
}

/// One entry of a directory or of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name; in a tree its path within.
    pub name: Vec<u8>,
    /// What stands there. A hard link's target is the path of the other one.
    pub info: Info,
}

/// Why something cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// For the caller.
    pub reason: Reason,
    /// Linux's number for the error, for the log; 0 for none.
    pub errno: u32,
}

/// Why something cannot be, as far as it is worth telling apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// Nothing stands there, or its directory is missing.
    Absent = 1,
    /// Something above it is no directory.
    NoDirectory,
    /// A directory stands there.
    Directory,
    /// What stands there is no regular file.
    Special,
    /// Something stands there.
    Exists,
    /// The directory is not empty.
    NotEmpty,
    /// The file system is read-only there.
    ReadOnly,
    /// It is mounted there, or in use.
    Mounted,
    /// The disk is full.
    Full,
    /// Not even root of the container may.
    Denied,
    /// Links lead in a circle.
    Circle,
    /// A path leads out of the directory that is to be filled.
    Outside,
    /// The archive contradicts itself, or names what it has not.
    Amiss,
    /// What stands there is not what was expected.
    Changed,
    /// A name or a path is too long.
    TooLong,
    /// It goes deeper than is taken.
    TooDeep,
    /// The file got shorter while it was read.
    Shrunk,
    /// A directory would lie in itself.
    Within,
    /// Anything else.
    Failed,
}

impl Owner {
    /// Of what nobody else was named for.
    pub const ROOT: Self = Self { user: 0, group: 0 };
}
