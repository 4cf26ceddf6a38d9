//! The content of one file, as it is.

use futures_util::TryStreamExt;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use poem::Body;
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::{Binary, Json};
use poem_openapi::{ApiResponse, OpenApi};
use time::OffsetDateTime;
use time::macros::format_description;

use super::conditions::Conditions;
use super::shape::{self, FilePut, FilePutResponse};
use super::upload::{OctetStream, Upload};
use crate::api::caller::{Caller, Files as FilesScope};
use crate::api::{Context, Tag};
use crate::domain::{ContainerPath, Details, Error, FileMode, FileOwner, Kind, Part};
use crate::engine::{Files, Target, cut};
use crate::policy::{Change, Read};

pub struct Content(pub Context);

/// A file, or a part of it.
#[derive(ApiResponse)]
enum ContentResponse {
    /// The whole file.
    #[oai(status = 200)]
    Whole(
        Binary<Body>,
        /// Changes with the content.
        #[oai(header = "ETag")]
        String,
        /// When the content changed.
        #[oai(header = "Last-Modified")]
        String,
        /// Always `bytes`.
        #[oai(header = "Accept-Ranges")]
        String,
        /// Bytes that come.
        #[oai(header = "Content-Length")]
        u64,
        /// The file's name.
        #[oai(header = "Content-Disposition")]
        String,
        /// It may be kept, and has to be asked for again.
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// The part that `Range` asked for.
    #[oai(status = 206)]
    Part(
        Binary<Body>,
        /// Changes with the content.
        #[oai(header = "ETag")]
        String,
        /// Which bytes, of how many.
        #[oai(header = "Content-Range")]
        String,
        /// Always `bytes`.
        #[oai(header = "Accept-Ranges")]
        String,
        /// Bytes that come.
        #[oai(header = "Content-Length")]
        u64,
    ),
    /// It is as `If-None-Match` knows it.
    #[oai(status = 304)]
    NotModified(
        /// Changes with the content.
        #[oai(header = "ETag")]
        String,
    ),
}

/// A file that was written.
#[derive(ApiResponse)]
enum WrittenResponse {
    /// The file was written.
    #[oai(status = 200)]
    Written(
        Json<FilePutResponse>,
        /// Changes with the content.
        #[oai(header = "ETag")]
        String,
    ),
}

/// What RFC 8187 leaves as it is.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'_');

#[OpenApi(tag = "Tag::Files")]
impl Content {
    /// Read a file
    ///
    /// Its bytes, all or those of one range; links are followed. An answer that cannot be finished, because the file got
    /// shorter or the container went away, is cut. The container need not run.
    #[oai(path = "/containers/:name/files/content", method = "get", operation_id = "getContainerFileContent")]
    #[allow(clippy::too_many_arguments)]
    async fn read(
        &self,
        request: &poem::Request,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Absolute path of a regular file.
        #[oai(example = "shape::a_file")]
        path: Query<String>,
        /// One range of bytes: `bytes=0-1023`, `bytes=1024-`, `bytes=-512`.
        #[oai(name = "Range")]
        range: Header<Option<String>>,
        /// Only if the file is still this one is the range sent, and else the whole file: an `ETag`.
        #[oai(name = "If-Range")]
        if_range: Header<Option<String>>,
        /// Only if the file is one of these: `ETag`s, or `*`. Else 412.
        #[oai(name = "If-Match")]
        _if_match: Header<Option<String>>,
        /// Only if the file is none of these. Else 304.
        #[oai(name = "If-None-Match")]
        _if_none_match: Header<Option<String>>,
    ) -> poem::Result<ContentResponse> {
        let mut wrong = Details::default();
        let path = wrong.take("path", ContainerPath::parse(&path));
        let conditions = Conditions::of(request, &mut wrong);
        let Some(path) = path else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        let grant = self.0.policy.container(who.principal(), who.scope(), Read, &name).await?;
        let used = self.0.lifecycle.use_until_dropped(&grant);
        let mut files = self.0.engine.files(&grant).await?;
        let info = files.open(&path).await?;
        let tag = info.version.tag();
        conditions.check_match(Some(&tag))?;
        if conditions.rules_out(&tag) {
            return Ok(ContentResponse::NotModified(tag));
        }
        let range = range.0.filter(|_| if_range.0.is_none_or(|wanted| wanted == tag));
        let bytes = "bytes".to_owned();
        let body = async |files: Files, from, length| {
            let pieces = files.read(from, length).await?.map_err(cut).inspect_ok(move |_| {
                let _still = &used;
            });
            Ok::<_, Error>(Binary(Body::from_bytes_stream(pieces)))
        };
        let size = info.size;
        Ok(match Part::of(range.as_deref(), size) {
            Part::Whole => {
                let name = utf8_percent_encode(path.name(), PLAIN);
                let disposition = format!("attachment; filename*=UTF-8''{name}");
                let modified = info.modified.date().map(http_date).unwrap_or_default();
                let kept = "private, no-cache".to_owned();
                ContentResponse::Whole(body(files, 0, size).await?, tag, modified, bytes, size, disposition, kept)
            }
            Part::Range { from, length } => {
                let range = format!("bytes {from}-{}/{size}", from + length - 1);
                ContentResponse::Part(body(files, from, length).await?, tag, range, bytes, length)
            }
            Part::Outside => {
                let message = format!("the file has {size} bytes");
                return Err(Error::new(Kind::Range(format!("bytes */{size}")), message).into());
            }
        })
    }

    /// Write a file
    ///
    /// Writes or replaces one regular file with the body's bytes, whatever their number; a link is followed. The file is
    /// replaced in one step once all of it was taken: whatever fails before leaves the old one. Without `mode` and `owner`
    /// it has those of the file that it replaces, else `0644` and root. The container need not run.
    #[oai(path = "/containers/:name/files/content", method = "put", operation_id = "putContainerFileContent")]
    #[allow(clippy::too_many_arguments)]
    async fn write(
        &self,
        request: &poem::Request,
        who: Caller<FilesScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Absolute path, without `.`, `..` or a trailing slash. Its directory must exist.
        #[oai(example = "shape::another_file")]
        path: Query<String>,
        /// Permission bits in octal, such as `0644`.
        mode: Query<Option<String>>,
        /// `UID` or `UID:GID`, numbers of the container; a user without a group has the group of its number.
        owner: Query<Option<String>>,
        /// Only if there is a file and it is one of these: `ETag`s, or `*`. Else 412.
        #[oai(name = "If-Match")]
        _if_match: Header<Option<String>>,
        /// Only if there is no file that is one of these; `*`: only if there is none. Else 412.
        #[oai(name = "If-None-Match")]
        _if_none_match: Header<Option<String>>,
        body: Upload<OctetStream>,
    ) -> poem::Result<WrittenResponse> {
        let mut wrong = Details::default();
        let path = wrong.take("path", ContainerPath::parse(&path));
        let mode = wrong.take_optional("mode", mode.0, |mode| FileMode::parse(&mode));
        let owner = wrong.take_optional("owner", owner.0, |owner| FileOwner::parse(&owner));
        let conditions = Conditions::of(request, &mut wrong);
        let Some(path) = path else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        let asker = who.principal().noting(format!("file {}", path.as_str()));
        let grant = self.0.policy.container(&asker, who.scope(), Change, &name).await?;
        let _used = self.0.lifecycle.use_until_dropped(&grant);
        let mut charge = self.0.policy.charge(&grant, body.promised()).await?;
        let mut files = self.0.engine.changing_files(&grant).await?;
        let expected = conditions.expected(&mut files, &path).await?;
        let target = Target { path, mode, owner, expected };
        let mut count = 0;
        let (info, created) = files.write(&target, body.into_stream(&mut charge, &mut count)).await?;
        charge.keep(count).await?;
        let (path, etag) = (target.path.as_str().into(), info.version.tag());
        let put = FilePut { path, created, size: info.size, etag: etag.clone() };
        Ok(WrittenResponse::Written(FilePutResponse::of(put), etag))
    }
}

/// RFC 9110, 5.6.7.
fn http_date(time: OffsetDateTime) -> String {
    let format =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    time.format(format).unwrap_or_default()
}
