//! A small file in JSON.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use poem::Request;
use poem_openapi::payload::Json;
use poem_openapi::{Enum, Object};

use super::conditions::Conditions;
use crate::api::Context;
use crate::api::caller::{Caller, Files as FilesScope};
use crate::api::json::Strict;
use crate::api::model::answer;
use crate::domain::{ContainerPath, Details, FileMode, FileOwner};
use crate::engine::FileWrite;
use crate::policy::Change;

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
pub(super) struct AddFileRequest {
    /// Absolute path, without `.`, `..` or a trailing slash. Its directory must exist.
    dest_path: String,
    /// The file's content.
    content: String,
    /// How `content` is written. Default `utf8`.
    encoding: Option<Encoding>,
    /// Permission bits in octal. Default `0644`.
    mode: Option<String>,
    /// `UID` or `UID:GID`, numbers of the container; a user without a group has the group of its number. Default: root.
    owner: Option<String>,
}

impl poem_openapi::types::Example for AddFileRequest {
    fn example() -> Self {
        Self { dest_path: "/tmp/hello.txt".into(), content: "hello\n".into(), encoding: None, mode: None, owner: None }
    }
}

/// A file that was written.
#[derive(Object)]
pub(super) struct FileWritten {
    /// Where.
    dest_path: String,
    /// Bytes.
    size: u64,
}

answer! {
    /// The file was written.
    pub(super) AddFileResponse { file: FileWritten }
    example FileWritten { dest_path: "/tmp/hello.txt".into(), size: 6 }
}

/// Permission bits where none are given.
const MODE: FileMode = FileMode(0o644);

/// Writes it.
pub(super) async fn add(
    context: &Context,
    request: &Request,
    who: &Caller<FilesScope>,
    name: &str,
    body: Strict<AddFileRequest, true>,
) -> poem::Result<Json<AddFileResponse>> {
    // The place of a large body is given back when the file is written.
    let Strict(body, _place) = body;
    let mut wrong = Details::default();
    let conditions = Conditions::of(request, &mut wrong);
    let path = wrong.take("dest_path", ContainerPath::parse(&body.dest_path));
    let content = match body.encoding.unwrap_or(Encoding::Utf8) {
        Encoding::Utf8 => Some(body.content.into_bytes()),
        Encoding::Base64 => {
            wrong.take("content", STANDARD.decode(&body.content).map_err(|_| "is not base64".to_owned()))
        }
    };
    let mode = wrong.take_optional("mode", body.mode, |mode| FileMode::parse(&mode)).unwrap_or(MODE);
    let owner = wrong.take_optional("owner", body.owner, |owner| FileOwner::parse(&owner)).unwrap_or_default();
    let (Some(path), Some(content)) = (path, content) else { return Err(wrong.into_error().into()) };
    wrong.finish()?;
    let size = content.len() as u64;
    let asker = who.principal().noting(format!("file {}", path.as_str()));
    let grant = context.policy.container(&asker, who.scope(), Change, name).await?;
    let _using = context.lifecycle.use_until_dropped(&grant);
    let charge = context.policy.charge(&grant, size).await?;
    let file = FileWrite { path, content: content.into(), mode, owner };
    if conditions.are_none() {
        context.engine.write_file(&grant, &file).await?;
    } else {
        let mut files = context.engine.changing_files(&grant).await?;
        let expected = conditions.expected(&mut files, &file.path).await?;
        files.write(&file.target(expected), stream::iter([Ok(file.content.clone())])).await?;
    }
    charge.keep(size).await?;
    Ok(AddFileResponse::of(FileWritten { dest_path: file.path.as_str().into(), size }))
}
