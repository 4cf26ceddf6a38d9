//! What stands at a path, and directories.

use poem_openapi::OpenApi;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::Json;

use super::shape::{
    self, CreateDirectoryRequest, CreateDirectoryResponse, DirectoryMade, FileItem, FileMoved, FileResponse,
    MoveFileRequest, MoveFileResponse,
};
use crate::api::caller::{Caller, Files as FilesScope};
use crate::api::json::Strict;
use crate::api::parameter::Flag;
use crate::api::{Context, Tag};
use crate::domain::{ContainerPath, Details, FileMode, FileOwner, TreePath};
use crate::policy::{Change, Read};

pub struct Tree(pub Context);

/// Permission bits of a directory.
const MODE: FileMode = FileMode(0o755);

#[OpenApi(tag = "Tag::Files")]
impl Tree {
    /// Look at a path
    ///
    /// What stands there: type, size, owner, times. The container need not run.
    #[oai(path = "/containers/:name/files/info", method = "get", operation_id = "getContainerFileInfo")]
    async fn look(
        &self,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Absolute path.
        #[oai(example = "shape::a_file")]
        path: Query<String>,
        /// Whether a link is followed. Default false.
        follow: Query<Option<Flag>>,
    ) -> poem::Result<Json<FileResponse>> {
        let mut wrong = Details::default();
        let path = wrong.take("path", TreePath::parse(&path));
        let Some(path) = path else { return Err(wrong.into_error().into()) };
        let grant = self.0.policy.container(who.principal(), who.scope(), Read, &name).await?;
        let info = self.0.engine.files(&grant).await?.look(&path, follow.unwrap_or_default().0).await?;
        Ok(FileResponse::of(FileItem::of(path.name().unwrap_or("/").as_bytes(), &info)))
    }

    /// Make a directory
    ///
    /// The container need not run.
    #[oai(path = "/containers/:name/files/directories", method = "post", operation_id = "createContainerDirectory")]
    async fn make_directory(
        &self,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        body: Strict<CreateDirectoryRequest>,
    ) -> poem::Result<Json<CreateDirectoryResponse>> {
        let Strict(CreateDirectoryRequest { path, parents, mode, owner }, _) = body;
        let mut wrong = Details::default();
        let path = wrong.take("path", ContainerPath::parse(&path));
        let mode = wrong.take_optional("mode", mode, |mode| FileMode::parse(&mode));
        let owner = wrong.take_optional("owner", owner, |owner| FileOwner::parse(&owner));
        let Some(path) = path else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        let asker = who.principal().noting(format!("directory {}", path.as_str()));
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        let _used = self.0.lifecycle.use_until_dropped(&grant);
        let mut files = self.0.engine.changing_files(&grant).await?;
        let (mode, owner) = (mode.unwrap_or(MODE), owner.unwrap_or_default());
        let (_, created) = files.make_directory(&path, parents.unwrap_or(false), mode, owner).await?;
        Ok(CreateDirectoryResponse::of(DirectoryMade { path: path.as_str().into(), created }))
    }

    /// Move a file or a directory
    ///
    /// Gives it another name, in one step where it stays on one file system. Between file systems it is copied first, and
    /// seen under its new name once it is whole. The container need not run, but one that is paused is a conflict.
    #[oai(path = "/containers/:name/files/move", method = "post", operation_id = "moveContainerFile")]
    async fn rename(
        &self,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        body: Strict<MoveFileRequest>,
    ) -> poem::Result<Json<MoveFileResponse>> {
        let Strict(MoveFileRequest { source, destination, overwrite }, _) = body;
        let mut wrong = Details::default();
        let source = wrong.take("source", ContainerPath::parse(&source));
        let destination = wrong.take("destination", ContainerPath::parse(&destination));
        let (Some(source), Some(destination)) = (source, destination) else { return Err(wrong.into_error().into()) };
        let asker = who.principal().noting(format!("file {} to {}", source.as_str(), destination.as_str()));
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        let _used = self.0.lifecycle.use_until_dropped(&grant);
        self.0.engine.changing_files(&grant).await?.rename(&source, &destination, overwrite.unwrap_or(false)).await?;
        let (source, destination) = (source.as_str().into(), destination.as_str().into());
        Ok(MoveFileResponse::of(FileMoved { source, destination }))
    }
}
