//! Files inside a container.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object, OpenApi};

use super::caller::{Caller, Files as FilesScope};
use super::json::Strict;
use super::model::answer;
use super::{Context, Tag};
use crate::domain::{ContainerPath, Details};
use crate::engine::FileWrite;
use crate::policy::Change;

pub struct Files(pub Context);

/// How `content` is written.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
enum Encoding {
    /// As it is.
    Utf8,
    /// RFC 4648, section 4, with padding.
    Base64,
}

/// The file to write.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct AddFileRequest {
    /// Absolute path, without `.`, `..` or a trailing slash. Its directory must exist.
    dest_path: String,
    /// The file's content.
    content: String,
    /// How `content` is written. Default `utf8`.
    encoding: Option<Encoding>,
}

impl poem_openapi::types::Example for AddFileRequest {
    fn example() -> Self {
        Self { dest_path: "/tmp/hello.txt".into(), content: "hello\n".into(), encoding: None }
    }
}

/// A file that was written.
#[derive(Object)]
struct FileWritten {
    /// Where.
    dest_path: String,
    /// Bytes.
    size: u64,
}

answer! {
    /// The file was written.
    AddFileResponse { file: FileWritten }
    example FileWritten { dest_path: "/tmp/hello.txt".into(), size: 6 }
}

/// Permission bits of a new file.
const MODE: u32 = 0o644;

#[OpenApi(tag = "Tag::Inside")]
impl Files {
    /// Write a file
    ///
    /// Writes or replaces one regular file, owned by the container's user. A link is followed. The container need not
    /// run.
    #[oai(path = "/containers/:name/files", method = "post", operation_id = "addContainerFile")]
    async fn add(
        &self,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        body: Strict<AddFileRequest, true>,
    ) -> poem::Result<Json<AddFileResponse>> {
        // The place of a large body is given back when the file is written.
        let Strict(body, _place) = body;
        let mut wrong = Details::default();
        let path = wrong.take("dest_path", ContainerPath::parse(&body.dest_path));
        let content = match body.encoding.unwrap_or(Encoding::Utf8) {
            Encoding::Utf8 => Some(body.content.into_bytes()),
            Encoding::Base64 => {
                wrong.take("content", STANDARD.decode(&body.content).map_err(|_| "is not base64".to_owned()))
            }
        };
        let (Some(path), Some(content)) = (path, content) else { return Err(wrong.into_error().into()) };
        let size = content.len() as u64;
        let asker = who.principal().noting(format!("file {}", path.as_str()));
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        let file = FileWrite { path, content, mode: MODE };
        self.0.engine.write_file(&grant, &file, self.0.engine.deadline()).await?;
        Ok(AddFileResponse::of(FileWritten { dest_path: file.path.as_str().into(), size }))
    }
}
