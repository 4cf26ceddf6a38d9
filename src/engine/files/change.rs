//! Changing files: only for who announced it.

use bytes::Bytes;
use futures_util::stream::{Stream, StreamExt};
use podgate_agent::protocol::files::{Ask, Expect, FILES_CHUNK, Write};

use super::talk::nonsense;
use super::visit::Visit;
use super::{Files, meaning};
use crate::domain::archive::{ArchiveReader, Piece};
use crate::domain::{
    ContainerPath, Error, FileEntry, FileInfo, FileKind, FileMode, FileOwner, FileVersion, Kind, Result, TreePath,
};
use crate::engine::Engine;
use crate::policy::grant::{Audited, ContainerGrant};

/// The files of one container, to be changed.
pub struct ChangingFiles {
    files: Files,
}

/// A file to write.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where; a link is followed.
    pub path: ContainerPath,
    /// Without, as the file that it replaces, or 0644.
    pub mode: Option<FileMode>,
    /// Without, as the file that it replaces, or root's.
    pub owner: Option<FileOwner>,
    /// What must stand there.
    pub expected: Expected,
}

/// What must stand where a file is written.
#[derive(Debug, Clone, Copy)]
pub enum Expected {
    /// Nothing, or any file.
    Anything,
    /// Nothing.
    Nothing,
    /// This very file.
    Version(FileVersion),
}

impl Expected {
    /// What a refusal for something else that stands there means.
    fn in_its_words(self, error: Error) -> Error {
        match self {
            Self::Nothing if error.kind == Kind::Precondition => {
                error.said(Kind::Precondition, "there is a file already")
            }
            _ => error,
        }
    }
}

/// What came out of an archive.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Links of both kinds.
    pub links: u64,
    /// Bytes of the files.
    pub bytes: u64,
}

impl Engine {
    /// Gets at the container's files for changing them, once the tenant may have one more such thing at once.
    pub async fn changing_files(&self, grant: &Audited<ContainerGrant>) -> Result<ChangingFiles> {
        let visit = Visit::begin(self, grant, true, self.deadline()).await?;
        Ok(ChangingFiles { files: Files { visit } })
    }
}

impl ChangingFiles {
    /// What stands at a path, before it is changed.
    pub async fn look(&mut self, path: &TreePath, follow: bool) -> Result<FileInfo> {
        self.files.look(path, follow).await
    }

    /// Writes a file: nothing of it stands there before all of it does. What it is then, and whether it is a new one.
    pub async fn write(
        &mut self,
        target: &Target,
        mut content: impl Stream<Item = Result<Bytes>> + Unpin,
    ) -> Result<(FileInfo, bool)> {
        let ask = Ask::Write(Write {
            path: target.path.as_str().into(),
            mode: target.mode.map(|FileMode(mode)| mode),
            owner: target.owner.map(meaning::agent_owner),
            expect: match target.expected {
                Expected::Anything => Expect::Anything,
                Expected::Nothing => Expect::Nothing,
                Expected::Version(version) => Expect::Version(meaning::agent_version(version)),
            },
            token: rand::random(),
        });
        self.files.visit.have_done(&ask).await.map_err(|error| target.expected.in_its_words(error))?;
        while let Some(bytes) = content.next().await {
            // An error leaves the agent without the end of it, which takes it back.
            self.send(&bytes?).await?;
        }
        self.files.have_info(&Ask::Finish).await.map_err(|error| target.expected.in_its_words(error))
    }

    /// Removes a file, a link or a directory.
    pub async fn remove(&mut self, path: &ContainerPath, recursive: bool) -> Result<()> {
        self.files.visit.may_move().await?;
        self.files.visit.have_done(&Ask::Remove { path: path.as_str().into(), recursive }).await.map(drop)
    }

    /// Makes a directory, with those above it where it says `parents`; whether it is new.
    pub async fn make_directory(
        &mut self,
        path: &ContainerPath,
        parents: bool,
        FileMode(mode): FileMode,
        owner: FileOwner,
    ) -> Result<(FileInfo, bool)> {
        let owner = meaning::agent_owner(owner);
        self.files.have_info(&Ask::MakeDirectory { path: path.as_str().into(), parents, mode, owner }).await
    }

    /// Gives something another name. A file that has it goes where it says `replace`.
    pub async fn rename(&mut self, from: &ContainerPath, to: &ContainerPath, replace: bool) -> Result<FileInfo> {
        self.files.visit.may_move().await?;
        let (from, to) = (from.as_str().into(), to.as_str().into());
        let ask = Ask::Move { from, to, replace, token: rand::random() };
        self.files.have_info(&ask).await.map(|(info, _)| info)
    }

    /// Fills a directory from a tar archive: nothing of it stands there before all of it was taken and fits.
    pub async fn unpack(
        &mut self,
        path: &TreePath,
        owner: Option<FileOwner>,
        mut archive: impl Stream<Item = Result<Bytes>> + Unpin,
    ) -> Result<Unpacked> {
        let ask = Ask::Unpack { path: path.as_str().into(), token: rand::random() };
        self.files.visit.have_done(&ask).await?;
        let mut reader = ArchiveReader::default();
        let mut unpacked = Unpacked::default();
        let wrong = |message: String| Error::invalid(format!("the archive has {message}"));
        while let Some(bytes) = archive.next().await {
            reader.push(&bytes?);
            while let Some(piece) = reader.next().map_err(wrong)? {
                match piece {
                    Piece::Entry(mut entry) => {
                        entry.info.owner = owner.unwrap_or(entry.info.owner);
                        if !entry.info.owner.is_within() {
                            let name = String::from_utf8_lossy(&entry.name).into_owned();
                            let message = format!("{name:?}, whose owner no container has; say whose it is to be");
                            return Err(wrong(message));
                        }
                        unpacked.count(&entry);
                        self.files.visit.say(&Ask::Entry(meaning::agent_entry(entry))).await?;
                        self.go_on().await?;
                    }
                    Piece::Content(bytes) => self.send(&bytes).await?,
                }
            }
        }
        reader.finish().map_err(wrong)?;
        self.files.visit.have_done(&Ask::Finish).await?;
        Ok(unpacked)
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        for chunk in bytes.chunks(FILES_CHUNK) {
            self.files.visit.say(&Ask::Data(chunk.to_vec())).await?;
            self.go_on().await?;
        }
        Ok(())
    }

    /// A refusal in the middle, if there was one.
    async fn go_on(&mut self) -> Result<()> {
        let visit = &mut self.files.visit;
        if visit.is_answered() { visit.hear().await.and_then(|tell| Err(nonsense(&tell))) } else { Ok(()) }
    }
}

impl Unpacked {
    fn count(&mut self, entry: &FileEntry) {
        match entry.info.kind {
            FileKind::Directory => self.directories += 1,
            FileKind::Link | FileKind::HardLink => self.links += 1,
            _ => {
                self.files += 1;
                self.bytes += entry.info.size;
            }
        }
    }
}
