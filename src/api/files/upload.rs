//! A body that is passed on as it comes, whatever its size.

use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use poem::{Request, RequestBody};
use poem_openapi::registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::{ApiExtractor, ApiExtractorType, ExtractParamOptions};

use crate::api::BodyLimits;
use crate::domain::{Error, Kind, Result};
use crate::policy::Charge;

/// A media type, as a type.
pub(super) trait Media: Send {
    const TYPE: &'static str;
}

/// Any bytes.
pub(super) struct OctetStream;
impl Media for OctetStream {
    const TYPE: &'static str = "application/octet-stream";
}

/// A tar archive.
pub(super) struct Tar;
impl Media for Tar {
    const TYPE: &'static str = "application/x-tar";
}

/// A body of that type, not read yet.
pub(super) struct Upload<M> {
    body: poem::Body,
    /// How many bytes it says it has.
    promised: Option<u64>,
    most: u64,
    idle: Duration,
    media: PhantomData<fn() -> M>,
}

impl<M: Media> Upload<M> {
    /// What has to be there for it before it is read: what it says it has.
    pub(super) fn promised(&self) -> u64 {
        self.promised.unwrap_or(0)
    }

    /// Its bytes as they come, counted, and charged for before they are passed on.
    pub(super) fn into_stream<'a>(
        self,
        charge: &'a mut Charge,
        count: &'a mut u64,
    ) -> impl Stream<Item = Result<Bytes>> + Send + Unpin + 'a {
        let Self { body, most, idle, .. } = self;
        let state = Some((body.into_bytes_stream().boxed(), charge, count));
        let pieces = stream::unfold(state, move |state| async move {
            let (mut pieces, charge, count) = state?;
            let next = async {
                let piece = tokio::time::timeout(idle, pieces.next()).await;
                let piece = piece.map_err(|_| Error::new(Kind::SlowBody, "the body did not go on in time"))?;
                let Some(piece) =
                    piece.transpose().map_err(|error| Error::invalid("the body cannot be read").because(error))?
                else {
                    return Ok(None);
                };
                *count += piece.len() as u64;
                if *count > most {
                    return Err(too_large(most));
                }
                charge.cover(*count).await?;
                Ok(Some(piece))
            };
            match next.await {
                Ok(Some(piece)) => Some((Ok(piece), Some((pieces, charge, count)))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        });
        pieces.boxed()
    }
}

fn too_large(most: u64) -> Error {
    Error::new(Kind::TooLarge, format!("the body is larger than {most} bytes"))
}

impl<'a, M: Media> ApiExtractor<'a> for Upload<M> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(_registry: &mut Registry) {}

    fn request_meta() -> Option<MetaRequest> {
        let schema = MetaSchema { format: Some("binary"), ..MetaSchema::new("string") };
        let content = vec![MetaMediaType { content_type: M::TYPE, schema: MetaSchemaRef::Inline(Box::new(schema)) }];
        Some(MetaRequest { description: None, content, required: true })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let limits = request.extensions().get::<BodyLimits>().ok_or_else(|| Error::internal("no body limits"))?;
        let promised = request.header("content-length").and_then(|text| text.parse().ok());
        let most = limits.max_transfer_bytes;
        if promised.is_some_and(|promised| promised > most) {
            return Err(too_large(most).into());
        }
        let body = body.take().map_err(Error::internal)?;
        Ok(Self { body, promised, most, idle: limits.transfer_idle, media: PhantomData })
    }
}
