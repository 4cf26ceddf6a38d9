//! What the operations on files say.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poem_openapi::types::Example;
use poem_openapi::{Enum, Object};

use crate::api::model::answer;
use crate::domain::{FileEntry, FileInfo, FileKind, timestamp};

/// Paths for examples: of what most images have, and of what they have not.
pub(super) fn a_directory() -> String {
    "/etc".into()
}

pub(super) fn a_file() -> String {
    "/etc/passwd".into()
}

pub(super) fn another_directory() -> String {
    "/srv".into()
}

pub(super) fn another_file() -> String {
    "/tmp/data.csv".into()
}

/// What something is.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
pub(super) enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Link,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A device.
    Device,
}

/// What stands at a path.
#[derive(Object)]
#[oai(skip_serializing_if_is_none)]
pub(super) struct FileItem {
    /// Its last name. What is no UTF-8 is replaced; `name_base64` has it as it is.
    name: String,
    /// The name's bytes, where they are no UTF-8.
    name_base64: Option<String>,
    /// What it is.
    #[oai(rename = "type")]
    kind: FileType,
    /// Bytes.
    size: u64,
    /// Permission bits, in octal.
    mode: String,
    /// User, by its number in the container.
    uid: u32,
    /// Group, by its number in the container.
    gid: u32,
    /// When its content changed: RFC 3339, UTC.
    modified: String,
    /// Where a link leads.
    target: Option<String>,
    /// Of a regular file: changes with its content, and goes into `If-Match` and `If-None-Match`.
    etag: Option<String>,
}

impl FileItem {
    pub(super) fn of(name: &[u8], info: &FileInfo) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self {
            name: text(name),
            name_base64: std::str::from_utf8(name).is_err().then(|| STANDARD.encode(name)),
            kind: match info.kind {
                FileKind::File | FileKind::HardLink => FileType::File,
                FileKind::Directory => FileType::Directory,
                FileKind::Link => FileType::Link,
                FileKind::Fifo => FileType::Fifo,
                FileKind::Socket => FileType::Socket,
                FileKind::Device => FileType::Device,
            },
            size: info.size,
            mode: format!("{:04o}", info.mode),
            uid: info.owner.user,
            gid: info.owner.group,
            modified: info.modified.date().map(timestamp).unwrap_or_default(),
            target: (info.kind == FileKind::Link).then(|| text(&info.target)),
            etag: (info.kind == FileKind::File).then(|| info.version.tag()),
        }
    }

    fn example_file() -> Self {
        Self {
            name: "data.csv".into(),
            name_base64: None,
            kind: FileType::File,
            size: 5_242_880,
            mode: "0644".into(),
            uid: 0,
            gid: 0,
            modified: "2025-01-19T15:47:19.123456Z".into(),
            target: None,
            etag: Some("\"2a-500000-678d2b67.75bca00-678d2b67.75bca00\"".into()),
        }
    }
}

impl From<&FileEntry> for FileItem {
    fn from(entry: &FileEntry) -> Self {
        Self::of(&entry.name, &entry.info)
    }
}

answer! {
    /// What stands at the path.
    pub(super) FileResponse { file: FileItem }
    example FileItem::example_file()
}

/// A file that was written.
#[derive(Object)]
pub(super) struct FilePut {
    /// Where.
    pub(super) path: String,
    /// Whether there was none before.
    pub(super) created: bool,
    /// Bytes.
    pub(super) size: u64,
    /// Changes with its content.
    pub(super) etag: String,
}

answer! {
    /// The file was written.
    pub(super) FilePutResponse { file: FilePut }
    example FilePut {
        path: "/tmp/data.csv".into(),
        created: true,
        size: 5_242_880,
        etag: "\"2a-500000-678d2b67.75bca00-678d2b67.75bca00\"".into(),
    }
}

/// Some entries of a directory.
#[derive(Object)]
#[oai(skip_serializing_if_is_none, example)]
pub(super) struct FileListResponse {
    /// Always true.
    pub(super) success: bool,
    /// In the order of their names' bytes.
    pub(super) files: Vec<FileItem>,
    /// There are more: ask with this `cursor`.
    pub(super) next_cursor: Option<String>,
}

impl Example for FileListResponse {
    fn example() -> Self {
        Self { success: true, files: vec![FileItem::example_file()], next_cursor: None }
    }
}

/// Something that is gone.
#[derive(Object)]
pub(super) struct FileRemoved {
    /// Where it was.
    pub(super) path: String,
    /// Always true.
    pub(super) removed: bool,
}

answer! {
    /// It is gone.
    pub(super) RemoveFileResponse { file: FileRemoved }
    example FileRemoved { path: "/tmp/data.csv".into(), removed: true }
}

/// A directory that is there.
#[derive(Object)]
pub(super) struct DirectoryMade {
    /// Where.
    pub(super) path: String,
    /// Whether there was none before.
    pub(super) created: bool,
}

answer! {
    /// The directory is there.
    pub(super) CreateDirectoryResponse { directory: DirectoryMade }
    example DirectoryMade { path: "/srv/data".into(), created: true }
}

/// Something that has another name.
#[derive(Object)]
pub(super) struct FileMoved {
    /// Where it was.
    pub(super) source: String,
    /// Where it is.
    pub(super) destination: String,
}

answer! {
    /// It has its new name.
    pub(super) MoveFileResponse { file: FileMoved }
    example FileMoved { source: "/tmp/data.csv".into(), destination: "/srv/data/data.csv".into() }
}

/// What came out of an archive.
#[derive(Object)]
pub(super) struct ArchiveUnpacked {
    /// Into which directory.
    pub(super) path: String,
    /// Regular files.
    pub(super) files: u64,
    /// Directories, those that were there too.
    pub(super) directories: u64,
    /// Links of both kinds.
    pub(super) links: u64,
    /// Bytes of the files.
    pub(super) bytes: u64,
}

answer! {
    /// The archive is unpacked.
    pub(super) ArchiveResponse { archive: ArchiveUnpacked }
    example ArchiveUnpacked { path: "/srv".into(), files: 120, directories: 14, links: 3, bytes: 7_340_032 }
}

/// The directory to make.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct CreateDirectoryRequest {
    /// Absolute path, without `.`, `..` or a trailing slash.
    pub(super) path: String,
    /// Whether those above it are made as well, and one that is there is fine. Default false.
    pub(super) parents: Option<bool>,
    /// Permission bits in octal. Default `0755`.
    pub(super) mode: Option<String>,
    /// `UID` or `UID:GID`, numbers of the container; a user without a group has the group of its number. Default: root.
    pub(super) owner: Option<String>,
}

impl Example for CreateDirectoryRequest {
    fn example() -> Self {
        Self {
            path: "/srv/data".into(),
            parents: Some(true),
            mode: Some("0755".into()),
            owner: Some("1000:1000".into()),
        }
    }
}

/// What to move, and where.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
pub(super) struct MoveFileRequest {
    /// Absolute path of a file, a link or a directory.
    pub(super) source: String,
    /// Absolute path that it is to have; its directory must exist.
    pub(super) destination: String,
    /// Whether a file that stands at the destination goes. A directory never does. Default false.
    pub(super) overwrite: Option<bool>,
}

impl Example for MoveFileRequest {
    fn example() -> Self {
        Self { source: "/tmp/hello.txt".into(), destination: "/tmp/greeting.txt".into(), overwrite: None }
    }
}
