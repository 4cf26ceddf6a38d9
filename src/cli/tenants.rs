//! `podgate tenant …`

use std::collections::{BTreeMap, BTreeSet};

use clap::Subcommand;

use super::{ConfigFile, Failure, load, print};
use crate::app::{self, Opened};
use crate::domain::{Error, ImageRef, ImageRequest, Kind, Tenant, TenantSlug};
use crate::store::{ImagePolicy, Store};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a tenant. Without --image it may use no image.
    Create {
        /// 1 to 32 of a-z, 0-9 and '-'.
        #[arg(value_parser = TenantSlug::parse)]
        slug: TenantSlug,
        #[command(flatten)]
        images: Images,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Allow a tenant more images, or change its aliases.
    Allow {
        /// The tenant.
        #[arg(value_parser = TenantSlug::parse)]
        slug: TenantSlug,
        #[command(flatten)]
        images: Images,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Take an image from a tenant's list. Containers made from it stay.
    Disallow {
        /// The tenant.
        #[arg(value_parser = TenantSlug::parse)]
        slug: TenantSlug,
        /// A full reference, as `show` prints it.
        #[arg(value_parser = ImageRef::parse)]
        image: ImageRef,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print a tenant's images and aliases.
    Show {
        /// The tenant.
        #[arg(value_parser = TenantSlug::parse)]
        slug: TenantSlug,
        #[command(flatten)]
        file: ConfigFile,
    },
}

#[derive(clap::Args)]
pub(super) struct Images {
    /// A full reference the tenant may use, such as docker.io/library/alpine:latest. Repeatable.
    #[arg(long = "image", value_name = "REFERENCE", value_parser = ImageRef::parse)]
    images: Vec<ImageRef>,
    /// What a short name means for this tenant: alpine=docker.io/library/alpine:3.20. Repeatable.
    #[arg(long = "alias", value_name = "NAME=REFERENCE", value_parser = parse_alias)]
    aliases: Vec<(ImageRequest, ImageRef)>,
}

fn parse_alias(text: &str) -> Result<(ImageRequest, ImageRef), String> {
    let (name, reference) = text.split_once('=').ok_or("an alias is NAME=REFERENCE")?;
    Ok((ImageRequest::parse(name)?, ImageRef::parse(reference)?))
}

impl From<Images> for ImagePolicy {
    fn from(images: Images) -> Self {
        let allowed: BTreeSet<ImageRef> = images.images.into_iter().collect();
        let aliases: BTreeMap<ImageRequest, ImageRef> = images.aliases.into_iter().collect();
        Self { allowed, aliases }
    }
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { slug, images, file } => {
            open(&file).await?.create_tenant(&slug, &images.into()).await?;
            print(&format!("tenant {slug} created\n"));
        }
        Command::Allow { slug, images, file } => {
            let store = open(&file).await?;
            let tenant = existing(&store, &slug).await?;
            store.allow_images(&tenant, &images.into()).await?;
        }
        Command::Disallow { slug, image, file } => {
            let store = open(&file).await?;
            let tenant = existing(&store, &slug).await?;
            if !store.disallow_image(&tenant, &image).await? {
                return Err(Error::new(Kind::NotFound, format!("{image} is not on the list of {slug}")).into());
            }
        }
        Command::Show { slug, file } => {
            let store = open(&file).await?;
            let tenant = existing(&store, &slug).await?;
            let policy = store.image_policy(&tenant).await?;
            print(&format!("tenant {slug}\n"));
            for reference in &policy.allowed {
                print(&format!("image {reference}\n"));
            }
            for (alias, reference) in &policy.aliases {
                print(&format!("alias {}={reference}\n", alias.as_str()));
            }
        }
    }
    Ok(())
}

async fn open(file: &ConfigFile) -> Result<Store, Failure> {
    let Opened { store, .. } = app::open(&load(file)?, app::world()).await?;
    Ok(store)
}

async fn existing(store: &Store, slug: &TenantSlug) -> Result<Tenant, Error> {
    store.tenant(slug).await?.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no tenant {slug}")))
}
