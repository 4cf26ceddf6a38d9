//! Files inside a container, running or not.
//!
//! | file | its one job |
//! |---|---|
//! | `visit` | brings the agent to the container's files |
//! | `visitor` | a container of ours that has the files of one that does not run |
//! | `mounts` | what a visitor has mounted |
//! | `survey` | how much of the disk a container and its volumes take |
//! | `disk` | what lies where something else is mounted |
//! | `talk` | the conversation with it |
//! | `change` | what only those may do who announced it |
//! | `meaning` | from its language to the program's |
//! | `accounts` | small files by Podman itself, where there is no agent or a file belongs to the account database |

mod accounts;
mod change;
mod disk;
mod meaning;
mod mounts;
mod survey;
mod talk;
mod visit;
mod visitor;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use podgate_agent::protocol::files::{Ask, Tell};

use super::Engine;
use crate::domain::archive::ArchiveWriter;
use crate::domain::{ContainerPath, Error, FileEntry, FileInfo, FileKind, Kind, Result, TreePath};
use crate::policy::grant::ContainerGrant;
use talk::nonsense;
use visit::Visit;

pub use accounts::FileWrite;
pub(super) use accounts::{Stat, archive_url, first_file};
pub use change::{ChangingFiles, Expected, Target, Unpacked};
pub(super) use disk::Disk;
pub use survey::Survey;
pub(super) use visitor::Visits;

/// The files of one container, for as long as this lives. One thing at a time.
pub struct Files {
    visit: Visit,
}

/// Some entries of a directory.
#[derive(Debug)]
pub struct Listing {
    /// In the order of their names' bytes.
    pub entries: Vec<FileEntry>,
    /// Whether there are more.
    pub more: bool,
}

impl Engine {
    /// Gets at the container's files, once the tenant may have one more such thing at once.
    pub async fn files(&self, grant: &ContainerGrant) -> Result<Files> {
        Ok(Files { visit: Visit::begin(self, grant, false, self.deadline()).await? })
    }
}

impl Files {
    /// What stands at a path; of what a link leads to where it says `follow`.
    pub async fn look(&mut self, path: &TreePath, follow: bool) -> Result<FileInfo> {
        let ask = Ask::Look { path: path.as_str().into(), follow };
        self.have_info(&ask).await.map(|(info, _)| info)
    }

    /// The directory's entries after this name.
    pub async fn list(&mut self, path: &TreePath, after: Option<Vec<u8>>, limit: u32) -> Result<Listing> {
        let visit = &mut self.visit;
        visit.say(&Ask::List { path: path.as_str().into(), after, limit }).await?;
        let mut entries = Vec::new();
        loop {
            match visit.hear().await? {
                Tell::Entry(entry) if entries.len() < limit as usize => entries.push(meaning::entry(entry)),
                Tell::Done(more) => return Ok(Listing { entries, more: more == 1 }),
                other => return Err(nonsense(&other)),
            }
        }
    }

    /// Opens a regular file for [`Files::read`], links followed.
    pub async fn open(&mut self, path: &ContainerPath) -> Result<FileInfo> {
        self.have_info(&Ask::Open { path: path.as_str().into() }).await.map(|(info, _)| info)
    }

    /// Bytes of the file that was opened, all of them or an error. They are asked for at once: whoever is to have them may
    /// take its time.
    pub async fn read(mut self, from: u64, length: u64) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        self.visit.say(&Ask::Read { from, length }).await?;
        Ok(stream::unfold(Some((self, length)), |state| async {
            let (mut files, left) = state?;
            match files.next_bytes(left).await {
                Ok(Some(bytes)) => {
                    let left = left - bytes.len() as u64;
                    Some((Ok(bytes), Some((files, left))))
                }
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        }))
    }

    /// The next bytes of so many that are to come; none at their end.
    async fn next_bytes(&mut self, left: u64) -> Result<Option<Bytes>> {
        match self.visit.hear().await? {
            Tell::Data(bytes) if bytes.len() as u64 <= left => Ok(Some(bytes.into())),
            Tell::Done(_) if left == 0 => Ok(None),
            other => Err(nonsense(&other)),
        }
    }

    /// A tar archive of a file, or of a directory and all in it.
    pub async fn pack(mut self, path: &TreePath) -> Result<impl Stream<Item = Result<Bytes>> + Send + use<>> {
        self.visit.say(&Ask::Pack { path: path.as_str().into() }).await?;
        let mut packing = Packing { files: self, writer: ArchiveWriter::default(), left: 0 };
        // What cannot be is told before anything is sent.
        let first = packing.next().await?;
        let rest = stream::unfold(Some(packing), |packing| async {
            let mut packing = packing?;
            match packing.next().await {
                Ok((bytes, false)) => Some((Ok(bytes), Some(packing))),
                Ok((bytes, true)) => Some((Ok(bytes), None)),
                Err(error) => Some((Err(error), None)),
            }
        });
        let (bytes, is_all) = first;
        Ok(stream::iter([Ok(bytes)]).chain(rest.take(if is_all { 0 } else { usize::MAX })))
    }

    async fn have_info(&mut self, ask: &Ask) -> Result<(FileInfo, bool)> {
        match self.visit.ask(ask).await? {
            Tell::Info(info, made) => Ok((meaning::info(info), made)),
            other => Err(nonsense(&other)),
        }
    }
}

/// An archive that is being written.
struct Packing {
    files: Files,
    writer: ArchiveWriter,
    /// Of the current file's content.
    left: u64,
}

impl Packing {
    /// The next bytes, and whether they are the last.
    async fn next(&mut self) -> Result<(Bytes, bool)> {
        match self.files.visit.hear().await? {
            Tell::Entry(entry) if self.left == 0 => {
                let entry = meaning::entry(entry);
                if entry.info.kind == FileKind::File {
                    self.left = entry.info.size;
                }
                Ok((self.writer.entry(&entry).into(), false))
            }
            Tell::Data(bytes) if bytes.len() as u64 <= self.left => {
                self.left -= bytes.len() as u64;
                Ok((bytes.into(), false))
            }
            Tell::Done(_) if self.left == 0 => Ok((self.writer.end().into(), true)),
            other => Err(nonsense(&other)),
        }
    }
}

/// A failure in the middle of an answer that began, as the connection sees it.
pub fn cut(error: Error) -> std::io::Error {
    if !matches!(error.kind, Kind::Conflict | Kind::NotFound) {
        tracing::warn!(?error, "an answer was cut");
    }
    std::io::Error::other(error.to_string())
}
