//! Images that the caller's tenant may use.

use futures_util::stream::{self, StreamExt, TryStreamExt};
use poem_openapi::payload::Json;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, ContainersRead};
use super::model::answer;
use super::{Context, Tag};
use crate::domain::{Kind, Result};
use crate::engine::Deadline;
use crate::policy::grant::ImageGrant;

pub struct Images(pub Context);

/// How many images are asked about at once for one list.
const LIST_CALLS: usize = 4;

/// An image the tenant may use.
#[derive(Object)]
struct ImageItem {
    /// Its full reference.
    reference: String,
    /// Short names that mean it, for this tenant.
    aliases: Vec<String>,
    /// Whether the host has it. One that it has not cannot be used yet.
    present: bool,
}

answer! {
    /// What the tenant may use.
    ImageListResponse { images: Vec<ImageItem> }
    example vec![ImageItem {
        reference: "docker.io/library/alpine:latest".into(),
        aliases: vec!["alpine:latest".into()],
        present: true,
    }]
}

#[OpenApi(tag = "Tag::Images")]
impl Images {
    /// List images
    ///
    /// The images that the caller's tenant may use, and no others.
    #[oai(path = "/images", method = "get", operation_id = "listImages")]
    async fn list(&self, who: Caller<ContainersRead>) -> poem::Result<Json<ImageListResponse>> {
        let images = self.0.policy.images(who.principal()).await?;
        let deadline = self.0.engine.deadline();
        let items = stream::iter(images).map(|(grant, aliases)| self.item(grant, aliases, deadline));
        Ok(ImageListResponse::of(items.buffered(LIST_CALLS).try_collect().await?))
    }
}

impl Images {
    async fn item(&self, grant: ImageGrant, aliases: Vec<String>, deadline: Deadline) -> Result<ImageItem> {
        let present = match self.0.engine.image(&grant, deadline).await {
            Ok(_) => true,
            Err(error) if error.kind == Kind::NotFound => false,
            Err(error) => return Err(error),
        };
        Ok(ImageItem { reference: grant.reference().to_string(), aliases, present })
    }
}
