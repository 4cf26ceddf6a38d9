//! Directories as tar archives.

use futures_util::TryStreamExt;
use poem::Body;
use poem_openapi::param::{Path, Query};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::{ApiResponse, OpenApi};

use super::shape::{self, ArchiveResponse, ArchiveUnpacked};
use super::upload::{Media, Tar, Upload};
use crate::api::caller::{Caller, Files as FilesScope};
use crate::api::{Context, Tag};
use crate::domain::{Details, FileOwner, TreePath};
use crate::engine::cut;
use crate::policy::{Change, Read};

pub struct Archives(pub Context);

/// An archive as it is written.
struct TarStream(Body);

impl Payload for TarStream {
    const CONTENT_TYPE: &'static str = <Tar as Media>::TYPE;

    fn check_content_type(content_type: &str) -> bool {
        content_type.eq_ignore_ascii_case(Self::CONTENT_TYPE)
    }

    fn schema_ref() -> MetaSchemaRef {
        MetaSchemaRef::Inline(Box::new(MetaSchema { format: Some("binary"), ..MetaSchema::new("string") }))
    }
}

impl poem::IntoResponse for TarStream {
    fn into_response(self) -> poem::Response {
        poem::Response::builder().content_type(Self::CONTENT_TYPE).body(self.0)
    }
}

#[derive(ApiResponse)]
enum PackResponse {
    /// The archive.
    #[oai(status = 200)]
    Archive(TarStream),
}

#[OpenApi(tag = "Tag::Files")]
impl Archives {
    /// Download a file or a directory as a tar archive
    ///
    /// Names in it begin with the path's last one; those of `/` with nothing. It holds files, directories and links, none
    /// followed, with owners, modes and times; pipes, sockets and devices are left out, and so is what the kernel shows in
    /// `/proc` and `/sys`. An archive without an end is one that could not be finished. The container need not run.
    #[oai(path = "/containers/:name/files/archive", method = "get", operation_id = "getContainerArchive")]
    async fn pack(
        &self,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Absolute path.
        #[oai(example = "shape::a_directory")]
        path: Query<String>,
    ) -> poem::Result<PackResponse> {
        let mut wrong = Details::default();
        let path = wrong.take("path", TreePath::parse(&path));
        let Some(path) = path else { return Err(wrong.into_error().into()) };
        let grant = self.0.policy.container(who.principal(), who.scope(), Read, &name).await?;
        let used = self.0.lifecycle.use_until_dropped(&grant);
        let pieces = self.0.engine.files(&grant).await?.pack(&path).await?;
        let pieces = pieces.map_err(cut).inspect_ok(move |_| {
            let _still = &used;
        });
        Ok(PackResponse::Archive(TarStream(Body::from_bytes_stream(pieces))))
    }

    /// Unpack a tar archive into a directory
    ///
    /// The body is of type `application/octet-stream` or `application/x-tar`.
    ///
    /// Takes regular files, directories and links, with their modes, times and owners. Anything else, a name that is
    /// absolute or has `..` in it, a hard link to what the archive does not hold and an archive without an end are 400, what
    /// does not fit what is there is 409, and both change nothing: the archive is unpacked beside, and moved to where it
    /// belongs once it is whole and fits. Files replace files and links, never a directory; directories that are there
    /// stay as they are, and links to directories are followed as long as they lead to below `path`. The container need
    /// not run.
    #[oai(path = "/containers/:name/files/archive", method = "put", operation_id = "putContainerArchive")]
    async fn unpack(
        &self,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Absolute path of a directory that exists.
        #[oai(example = "shape::another_directory")]
        path: Query<String>,
        /// `UID` or `UID:GID` that all of it is to belong to, instead of what the archive says.
        owner: Query<Option<String>>,
        body: Upload<Tar>,
    ) -> poem::Result<Json<ArchiveResponse>> {
        let mut wrong = Details::default();
        let path = wrong.take("path", TreePath::parse(&path));
        let owner = wrong.take_optional("owner", owner.0, |owner| FileOwner::parse(&owner));
        let Some(path) = path else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        let asker = who.principal().noting(format!("archive into {}", path.as_str()));
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        let _used = self.0.lifecycle.use_until_dropped(&grant);
        let mut charge = self.0.policy.charge(&grant, body.promised()).await?;
        let mut files = self.0.engine.changing_files(&grant).await?;
        let mut count = 0;
        let unpacked = files.unpack(&path, owner, body.into_stream(&mut charge, &mut count)).await?;
        charge.keep(unpacked.bytes).await?;
        let path = path.as_str().into();
        let (files, directories, links, bytes) = (unpacked.files, unpacked.directories, unpacked.links, unpacked.bytes);
        Ok(ArchiveResponse::of(ArchiveUnpacked { path, files, directories, links, bytes }))
    }
}
