//! An archive that comes in pieces.

use bytes::{Buf, Bytes, BytesMut};

use super::BLOCK;
use super::header::Header;
use super::pax::Extended;
use crate::domain::{FileEntry, FileInfo, FileKind, FileOwner, FileTime, FileVersion};

/// Longest path and longest name in it: Linux's.
const MAX_PATH: usize = 4095;
const MAX_NAME: usize = 255;
/// Levels of directories.
const MAX_DEPTH: usize = 150;
/// Bytes of what may stand in front of one entry, and how many such blocks.
const MAX_EXTENDED: u64 = 64 * 1024;
const MAX_EXTENSIONS: u32 = 8;
/// Entries of one archive: each takes a place in the file system, however small it is.
const MAX_ENTRIES: u64 = 1_000_000;

/// What packs files tightly, by how it begins.
const COMPRESSED: &[&[u8]] = &[b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"PK\x03\x04"];

/// Said of such an archive.
const COMPRESSED_BEGINNING: &str = "a compressed beginning; only plain tar is taken";

/// Takes an archive apart as it comes. After an error it is of no more use.
#[derive(Default)]
pub struct ArchiveReader {
    waiting: BytesMut,
    state: State,
    extended: Extended,
    extensions: u32,
    entries: u64,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// A header comes.
    #[default]
    Header,
    /// So many bytes of a file, then so many of padding.
    Content(u64, u64),
    /// Padding.
    Padding(u64),
    /// What extends the next header: its type, its size and its padding.
    Extension(u8, u64, u64),
    /// It is over.
    End,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece {
    /// An entry. A regular file's content comes next, as much as its size says.
    Entry(FileEntry),
    /// Some of that content.
    Content(Bytes),
}

impl ArchiveReader {
    /// More bytes. To be followed by [`ArchiveReader::next`] until it gives none, which bounds what is kept.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::End {
            self.waiting.extend_from_slice(bytes);
        }
    }

    /// The next piece that is there. An error is told to whoever sent it.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Piece>, String> {
        loop {
            match self.state {
                State::End => {
                    self.waiting.clear();
                    return Ok(None);
                }
                State::Padding(left) => {
                    let skipped = left.min(self.waiting.len() as u64);
                    self.waiting.advance(usize::try_from(skipped).unwrap_or_default());
                    if skipped < left {
                        self.state = State::Padding(left - skipped);
                        return Ok(None);
                    }
                    self.state = State::Header;
                }
                State::Content(0, padding) => self.state = State::Padding(padding),
                State::Content(left, padding) => {
                    if self.waiting.is_empty() {
                        return Ok(None);
                    }
                    let taken = usize::try_from(left).unwrap_or(usize::MAX).min(self.waiting.len());
                    self.state = State::Content(left - taken as u64, padding);
                    return Ok(Some(Piece::Content(self.waiting.split_to(taken).freeze())));
                }
                State::Extension(kind, size, padding) => {
                    let size = usize::try_from(size).unwrap_or(usize::MAX);
                    if self.waiting.len() < size {
                        return Ok(None);
                    }
                    let bytes = self.waiting.split_to(size);
                    self.extend(kind, &bytes)?;
                    self.state = State::Padding(padding);
                }
                State::Header => {
                    let Some(block) = self.waiting.first_chunk::<BLOCK>() else { return Ok(None) };
                    if self.is_compressed() {
                        return Err(COMPRESSED_BEGINNING.into());
                    }
                    let header = Header::read(block)?;
                    self.waiting.advance(BLOCK);
                    match header {
                        None if self.extensions > 0 => return Err("an end where an entry was announced".into()),
                        None => self.state = State::End,
                        Some(header) => {
                            if let Some(entry) = self.take(header)? {
                                return Ok(Some(Piece::Entry(entry)));
                            }
                        }
                    }
                }
            }
        }
    }

    /// Whether it came to its end: one that was cut is none.
    pub fn finish(&self) -> Result<(), String> {
        match self.state {
            State::End => Ok(()),
            // Packed tightly, it may be shorter than the first block of what it holds.
            State::Header if self.is_compressed() => Err(COMPRESSED_BEGINNING.into()),
            _ => Err("no end".into()),
        }
    }

    /// At its first header.
    fn is_compressed(&self) -> bool {
        self.entries == 0 && COMPRESSED.iter().any(|begins| self.waiting.starts_with(begins))
    }

    fn take(&mut self, header: Header) -> Result<Option<FileEntry>, String> {
        if matches!(header.kind, b'x' | b'g' | b'L' | b'K') {
            self.extensions += 1;
            if header.size > MAX_EXTENDED || self.extensions > MAX_EXTENSIONS {
                return Err("an entry with too much in front of it".into());
            }
            self.state = State::Extension(header.kind, header.size, padding(header.size));
            return Ok(None);
        }
        self.extensions = 0;
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} entries"));
        }
        let extended = std::mem::take(&mut self.extended);
        let raw_name = extended.name.unwrap_or(header.name);
        let said = shown(&raw_name);
        // Older than POSIX: a directory is a file with a slash at its end.
        let kind = match header.kind {
            b'0' | 0 if raw_name.ends_with(b"/") => FileKind::Directory,
            b'0' | 0 => FileKind::File,
            b'5' => FileKind::Directory,
            b'2' => FileKind::Link,
            b'1' => FileKind::HardLink,
            other => return Err(format!("{said} is {}; only files, directories and links are taken", called(other))),
        };
        let size = extended.size.unwrap_or(header.size);
        if kind != FileKind::File && size != 0 {
            return Err(format!("{said} has content and is no file"));
        }
        self.state = State::Content(size, padding(size));
        let Some(name) = plain_name(&raw_name, kind == FileKind::Directory).map_err(|why| format!("{said} {why}"))?
        else {
            // The directory itself.
            return if kind == FileKind::Directory { Ok(None) } else { Err(format!("{said} has no name")) };
        };
        let raw_target = extended.link.unwrap_or(header.link);
        let target = match kind {
            FileKind::Link if raw_target.is_empty() || raw_target.len() > MAX_PATH || raw_target.contains(&0) => {
                return Err(format!("{said} leads nowhere"));
            }
            FileKind::Link => raw_target,
            FileKind::HardLink => {
                let target = plain_name(&raw_target, false).map_err(|why| format!("{said}: its target {why}"))?;
                target.ok_or_else(|| format!("{said} leads nowhere"))?
            }
            _ => Vec::new(),
        };
        let number =
            |number: u64| u32::try_from(number).map_err(|_| format!("{said} belongs to nobody there could be"));
        let owner = FileOwner {
            user: number(extended.user.unwrap_or(header.user))?,
            group: number(extended.group.unwrap_or(header.group))?,
        };
        let modified = extended.modified.unwrap_or(FileTime { seconds: header.modified, nanoseconds: 0 });
        let version = FileVersion { size, modified, ..FileVersion::default() };
        let info = FileInfo { kind, size, mode: header.mode, owner, modified, target, version };
        Ok(Some(FileEntry { name, info }))
    }

    fn extend(&mut self, kind: u8, bytes: &[u8]) -> Result<(), String> {
        let text = || bytes.strip_suffix(b"\0").unwrap_or(bytes).to_vec();
        match kind {
            b'L' => self.extended.name = Some(text()),
            b'K' => self.extended.link = Some(text()),
            b'x' => self.extended.take(bytes)?,
            // Of all that follow. Git says which commit it was; nobody says more.
            _ => {
                let mut global = Extended::default();
                global.take(bytes)?;
                self.extensions -= 1;
                if !global.says_nothing() {
                    return Err("a pax header for all entries, which is not taken".into());
                }
            }
        }
        Ok(())
    }
}

fn padding(size: u64) -> u64 {
    (BLOCK as u64 - size % BLOCK as u64) % BLOCK as u64
}

/// A relative path of plain names; none for the directory itself. `./` in front is how tar writes it.
fn plain_name(raw: &[u8], is_directory: bool) -> Result<Option<Vec<u8>>, &'static str> {
    if raw.starts_with(b"/") {
        return Err("has an absolute name");
    }
    let mut name = raw;
    while let Some(rest) = name.strip_prefix(b"./") {
        name = rest;
    }
    if name.starts_with(b"/") {
        return Err("has a name that is empty, '.' or too long");
    }
    if is_directory {
        name = name.strip_suffix(b"/").unwrap_or(name);
    }
    if name.is_empty() || name == b"." {
        return Ok(None);
    }
    if name.len() > MAX_PATH || name.contains(&0) {
        return Err("has a name that is too long or no text");
    }
    let parts = || name.split(|byte| *byte == b'/');
    if parts().any(|part| part == b"..") {
        return Err("leads out of the directory");
    }
    if parts().any(|part| part.is_empty() || part == b"." || part.len() > MAX_NAME) {
        return Err("has a name that is empty, '.' or too long");
    }
    if parts().count() > MAX_DEPTH {
        return Err("lies too deep");
    }
    Ok(Some(name.to_vec()))
}

/// A name as it may be repeated.
fn shown(name: &[u8]) -> String {
    let text: String =
        String::from_utf8_lossy(name).chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{text:?}")
}

fn called(kind: u8) -> &'static str {
    match kind {
        b'3' | b'4' => "a device",
        b'6' => "a named pipe",
        b'S' => "a sparse file",
        _ => "of a type of its own",
    }
}
