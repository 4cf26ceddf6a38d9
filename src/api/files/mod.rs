//! Files inside a container, running or not.

mod archive;
mod conditions;
mod content;
mod seed;
mod shape;
mod tree;
mod upload;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use poem_openapi::OpenApi;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::Json;

use super::caller::{Caller, Files as FilesScope};
use super::json::Strict;
use super::parameter::Flag;
use super::{Context, Tag};
use crate::domain::{ContainerPath, Details, TreePath};
use crate::policy::{Clear, Read};
use shape::{FileItem, FileListResponse, FileRemoved, RemoveFileResponse};

/// All operations on files.
pub type Operations = (Files, tree::Tree, content::Content, archive::Archives);

/// All operations on files.
pub fn operations(context: &Context) -> Operations {
    let context = || context.clone();
    (Files(context()), tree::Tree(context()), content::Content(context()), archive::Archives(context()))
}

/// What is about a path itself.
pub struct Files(Context);

/// Entries of one page of a directory, where nobody says otherwise, and at most.
const PAGE: u32 = 1000;

#[OpenApi(tag = "Tag::Files")]
impl Files {
    /// List a directory
    ///
    /// Its entries in the order of their names' bytes, links not followed. The container need not run.
    #[oai(path = "/containers/:name/files", method = "get", operation_id = "listContainerFiles")]
    async fn list(
        &self,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Absolute path of a directory; `/` for the container's root.
        #[oai(example = "shape::a_directory")]
        path: Query<String>,
        /// At most so many; the answer's `next_cursor` continues.
        #[oai(validator(minimum(value = "1"), maximum(value = "1000")))]
        limit: Query<Option<u32>>,
        /// The `next_cursor` of the answer before.
        cursor: Query<Option<String>>,
    ) -> poem::Result<Json<FileListResponse>> {
        let mut wrong = Details::default();
        let path = wrong.take("path", TreePath::parse(&path));
        let after = wrong.take_optional("cursor", cursor.0, |cursor| {
            let name = URL_SAFE_NO_PAD.decode(cursor).ok().filter(|name| (1..=255).contains(&name.len()));
            name.ok_or_else(|| "is not one that a list gave".to_owned())
        });
        let Some(path) = path else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        let grant = self.0.policy.container(who.principal(), who.scope(), Read, &name).await?;
        let mut files = self.0.engine.files(&grant).await?;
        let listing = files.list(&path, after, limit.unwrap_or(PAGE)).await?;
        let last = listing.entries.last().filter(|_| listing.more);
        let next_cursor = last.map(|last| URL_SAFE_NO_PAD.encode(&last.name));
        let files = listing.entries.iter().map(FileItem::from).collect();
        Ok(Json(FileListResponse { success: true, files, next_cursor }))
    }

    /// Write a small file
    ///
    /// Writes or replaces one regular file, in one step. A link is followed. The container need not run. For large files
    /// there is `PUT` on the file's content.
    #[oai(path = "/containers/:name/files", method = "post", operation_id = "addContainerFile")]
    async fn add(
        &self,
        request: &poem::Request,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Only if there is a file and it is one of these: `ETag`s, or `*`. Else 412.
        #[oai(name = "If-Match")]
        _if_match: Header<Option<String>>,
        /// Only if there is no file that is one of these; `*`: only if there is none. Else 412.
        #[oai(name = "If-None-Match")]
        _if_none_match: Header<Option<String>>,
        body: Strict<seed::AddFileRequest, true>,
    ) -> poem::Result<Json<seed::AddFileResponse>> {
        seed::add(&self.0, request, &who, &name, body).await
    }

    /// Remove a file or a directory
    ///
    /// A link is removed, not what it leads to. What is mounted in the container stays. A removal that fails in the
    /// middle of a directory has removed what came before. The container need not run, but one that is paused is a conflict.
    #[oai(path = "/containers/:name/files", method = "delete", operation_id = "removeContainerFile")]
    async fn remove(
        &self,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Absolute path.
        #[oai(example = "shape::another_file")]
        path: Query<String>,
        /// Whether a directory goes with all that is in it. Default false.
        recursive: Query<Option<Flag>>,
    ) -> poem::Result<Json<RemoveFileResponse>> {
        let mut wrong = Details::default();
        let path = wrong.take("path", ContainerPath::parse(&path));
        let Some(path) = path else { return Err(wrong.into_error().into()) };
        // Not as a change: who stores too much has to be able to store less.
        let asker = who.principal().noting(format!("file {}", path.as_str()));
        let grant = self.0.policy.container(&asker, who.scope(), Clear, &name).await?;
        let _used = self.0.lifecycle.use_until_dropped(&grant);
        self.0.engine.changing_files(&grant).await?.remove(&path, recursive.unwrap_or_default().0).await?;
        Ok(RemoveFileResponse::of(FileRemoved { path: path.as_str().into(), removed: true }))
    }
}
