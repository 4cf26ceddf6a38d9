//! Images that the caller's tenant may use.

use std::collections::BTreeSet;

use futures_util::stream::{self, Stream, StreamExt};
use poem_openapi::payload::Json;
use poem_openapi::types::{Example, ToJSON};
use poem_openapi::{Enum, Object, OpenApi};
use tokio::sync::watch;

use super::caller::{Caller, ContainersRead, Images as ImagesScope};
use super::json::Strict;
use super::sse::{Events, Told, ending_with};
use super::{Context, Tag};
use crate::domain::{Error, ImageRef, Kind, PullPolicy};
use crate::engine::{PullProgress, PullStep, not_pulled};
use crate::lifecycle::Pull;
use crate::policy::grant::{Audited, ImageGrant};
use crate::store::Outcome;

pub struct Images(pub Context);

/// An image the tenant may use.
#[derive(Object)]
struct ImageItem {
    /// Its full reference.
    reference: String,
    /// Short names that mean it, for this tenant.
    aliases: Vec<String>,
    /// Whether the host has it. One that it has not is pulled first.
    present: bool,
}

/// What the tenant may use.
#[derive(Object)]
#[oai(example)]
struct ImageListResponse {
    /// Always true.
    success: bool,
    /// Images that are allowed by their full reference, and those the host has that a pattern allows.
    images: Vec<ImageItem>,
    /// The tenant's list: full references, and patterns whose repository or tag ends in `*`.
    allowed: Vec<String>,
}

impl Example for ImageListResponse {
    fn example() -> Self {
        Self {
            success: true,
            images: vec![ImageItem {
                reference: "docker.io/library/alpine:latest".into(),
                aliases: vec!["alpine:latest".into()],
                present: true,
            }],
            allowed: vec!["docker.io/library/alpine:latest".into(), "quay.io/acme/*".into()],
        }
    }
}

/// The image to pull.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct PullImageRequest {
    /// A short name that the tenant's aliases know, or a full reference; either must be on the tenant's list.
    image: String,
    /// `always`, which is the default; `missing`, which does nothing where the host has the image; or `never`, which
    /// only tells whether it has: 404 where not.
    policy: Option<String>,
}

impl Example for PullImageRequest {
    fn example() -> Self {
        Self { image: "alpine:latest".into(), policy: None }
    }
}

/// What a pull is at.
#[derive(Enum, Clone, Copy, PartialEq, Eq)]
#[oai(rename_all = "lowercase")]
enum PullStatus {
    /// Others are pulled first.
    Waiting,
    /// The registry is asked for it.
    Resolving,
    /// Its layers come.
    Copying,
    /// It is put together.
    Storing,
    /// The host has it. The last event.
    Done,
    /// It could not be pulled. The last event.
    Failed,
}

/// How far a pull is.
#[derive(Object)]
#[oai(skip_serializing_if_is_none, example)]
struct PullEvent {
    /// What happens; also the event's name.
    status: PullStatus,
    /// The image's full reference.
    reference: String,
    /// Layers that were begun.
    layers: Option<u32>,
    /// Why it failed.
    message: Option<String>,
}

impl Example for PullEvent {
    fn example() -> Self {
        let reference = "docker.io/library/alpine:latest".into();
        Self { status: PullStatus::Copying, reference, layers: Some(2), message: None }
    }
}

impl Told for PullEvent {
    fn name(&self) -> String {
        self.status.to_json().and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
    }
}

#[OpenApi(tag = "Tag::Images")]
impl Images {
    /// List images
    ///
    /// The images that the caller's tenant may use, and no others.
    #[oai(path = "/images", method = "get", operation_id = "listImages")]
    async fn list(&self, who: Caller<ContainersRead>) -> poem::Result<Json<ImageListResponse>> {
        let allowed = self.0.policy.images(who.principal(), who.scope()).await?;
        let on_host = self.0.engine.images_on_host(allowed.within(), self.0.engine.deadline()).await?;
        let named = allowed.patterns().iter().filter_map(|pattern| pattern.exact());
        // Every image has a digest as well, which is only worth telling to who asked for it.
        let found = on_host.iter().filter(|reference| !reference.is_pinned() && allowed.allows(reference)).cloned();
        let all: BTreeSet<ImageRef> = named.chain(found).collect();
        let images = all.into_iter().map(|reference| ImageItem {
            aliases: allowed.names(&reference),
            present: on_host.contains(&reference),
            reference: reference.to_string(),
        });
        let patterns = allowed.patterns().iter().map(ToString::to_string);
        Ok(Json(ImageListResponse { success: true, images: images.collect(), allowed: patterns.collect() }))
    }

    /// Pull an image
    ///
    /// Gets an allowed image from its registry and tells how far it is. Whoever asks for an image that is being pulled
    /// joins that pull; others wait for their turn, of one tenant no more than 16. The last event is `done` or `failed`;
    /// what goes on when a caller leaves, or is told that the stream ends, is the pull.
    #[oai(path = "/images/pull", method = "post", operation_id = "pullImage")]
    async fn pull(&self, who: Caller<ImagesScope>, body: Strict<PullImageRequest>) -> poem::Result<Events<PullEvent>> {
        let Strict(PullImageRequest { image, policy }, _) = body;
        let (grant, policy) = self.0.policy.pull(who.principal(), who.scope(), &image, policy.as_deref()).await?;
        let present = match policy {
            PullPolicy::Always => false,
            PullPolicy::Missing | PullPolicy::Never => self.0.engine.has_image(&grant).await?,
        };
        if !present {
            if policy == PullPolicy::Never {
                return Err(Error::new(Kind::NotFound, "the image is not on this host").into());
            }
            // A refusal has its own code; once events come, there is none any more.
            self.0.engine.ping().await?;
            self.0.engine.check_room(&grant).await?;
        }
        let open = self.0.streams.open(who.principal(), who.scope()).await?;
        let (entry, reference) = (grant.entry().clone(), grant.reference().to_string());
        let told = if present {
            let event = event(&grant, Pull::Done);
            stream::once(async { event }).boxed()
        } else {
            progress(self.0.lifecycle.pull(&grant)?, grant).boxed()
        };
        // The entry lasts as long as the stream.
        let told = told.inspect(move |event| {
            if event.status == PullStatus::Failed {
                entry.note(Outcome::of::<()>(&Err(not_pulled())));
            }
        });
        let failed = move |message: &str| PullEvent {
            status: PullStatus::Failed,
            reference: reference.clone(),
            layers: None,
            message: Some(message.to_owned()),
        };
        Ok(ending_with(open, told, move |ending| failed(ending.reason())))
    }
}

/// The pull as it goes, and its end.
fn progress(told: watch::Receiver<Pull>, grant: Audited<ImageGrant>) -> impl Stream<Item = PullEvent> + Send {
    stream::unfold(Some((told, grant, true)), |state| async {
        let (mut told, grant, first) = state?;
        // A sender that is gone without a word has failed.
        let lost = !first && told.changed().await.is_err();
        let now = *told.borrow_and_update();
        let now = if lost { Pull::Failed } else { now };
        let event = event(&grant, now);
        Some((event, matches!(now, Pull::Running(_)).then_some((told, grant, false))))
    })
}

fn event(grant: &ImageGrant, pull: Pull) -> PullEvent {
    let reference = grant.reference().to_string();
    match pull {
        Pull::Running(PullProgress { step, layers }) => {
            let status = match step {
                PullStep::Waiting => PullStatus::Waiting,
                PullStep::Resolving => PullStatus::Resolving,
                PullStep::Copying => PullStatus::Copying,
                PullStep::Storing => PullStatus::Storing,
            };
            PullEvent { status, reference, layers: Some(layers), message: None }
        }
        Pull::Done => PullEvent { status: PullStatus::Done, reference, layers: None, message: None },
        Pull::Failed | Pull::Lost | Pull::Full => {
            let message = pull.failure().map(|error| error.message.into_owned());
            PullEvent { status: PullStatus::Failed, reference, layers: None, message }
        }
    }
}
