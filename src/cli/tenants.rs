//! `podgate tenant …`

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::{Value, json};

use super::{ConfigFile, Failure, announce, announce_end, ended, load, print, print_json};
use crate::app::{self, Opened};
use crate::config::Config;
use crate::domain::{Error, ImagePattern, ImageRef, ImageRequest, Kind, Resource, Tenant, TenantLimit, TenantSlug};
use crate::store::{Allowed, ImagePolicy, Object, Store, TenantMeans, Usage};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Make a tenant. Without --image it may use no image.
    Create {
        /// 1 to 32 of a-z, 0-9 and '-'.
        #[arg(value_parser = TenantSlug::parse)]
        slug: TenantSlug,
        #[command(flatten)]
        means: Means,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Allow a tenant more images or profiles, or change its aliases, quotas and limits.
    Allow {
        /// The tenant.
        #[arg(value_parser = TenantSlug::parse)]
        slug: TenantSlug,
        #[command(flatten)]
        means: Means,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Take from a tenant what `allow` gave it; quotas and limits are the configuration's again. Containers that it has stay.
    Disallow {
        /// The tenant.
        #[arg(value_parser = TenantSlug::parse)]
        slug: TenantSlug,
        /// The same as --image.
        #[arg(value_parser = ImagePattern::parse)]
        image: Option<ImagePattern>,
        #[command(flatten)]
        taken: Taken,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Delete a tenant: its accounts are nobody at once, a running gateway takes away everything it owns, then itself.
    Delete {
        /// The tenant.
        #[arg(value_parser = TenantSlug::parse)]
        slug: TenantSlug,
        /// Do not wait for the end.
        #[arg(long)]
        no_wait: bool,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print all tenants by name.
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Print a tenant's images, aliases, profiles, quotas and limits.
    Show {
        /// The tenant.
        #[arg(value_parser = TenantSlug::parse)]
        slug: TenantSlug,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        file: ConfigFile,
    },
}

#[derive(clap::Args)]
pub(super) struct Means {
    /// A full reference the tenant may use, such as docker.io/library/alpine:latest, or a pattern of them, whose
    /// repository or tag ends in '*': quay.io/acme/*, docker.io/library/python:3*. Repeatable.
    #[arg(long = "image", value_name = "REFERENCE", value_parser = ImagePattern::parse)]
    images: Vec<ImagePattern>,
    /// What a short name means for this tenant: alpine=docker.io/library/alpine:3.20. Repeatable.
    #[arg(long = "alias", value_name = "NAME=REFERENCE", value_parser = parse_alias)]
    aliases: Vec<(ImageRequest, ImageRef)>,
    /// A profile of the configuration that the tenant may use beside `default`. Repeatable.
    #[arg(long = "profile", value_name = "NAME")]
    profiles: Vec<String>,
    /// A quota other than the configuration's: containers=50. Repeatable.
    #[arg(long = "quota", value_name = "RESOURCE=MAXIMUM", value_parser = parse_quota)]
    quotas: Vec<(Resource, i64)>,
    /// How fast it may ask: requests_per_second, burst. What its containers may have at most, whatever their profile says:
    /// expires_seconds (where a request says nothing), max_expires_seconds, exec_seconds, max_exec_seconds,
    /// container_memory_bytes, container_cpu_millis, container_pids. Repeatable.
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = parse_limit)]
    limits: Vec<(TenantLimit, i64)>,
}

#[derive(clap::Args)]
pub(super) struct Taken {
    /// A full reference or a pattern, as `show` prints it. Repeatable.
    #[arg(long = "image", value_name = "REFERENCE", value_parser = ImagePattern::parse)]
    images: Vec<ImagePattern>,
    /// A short name. Repeatable.
    #[arg(long = "alias", value_name = "NAME", value_parser = ImageRequest::parse)]
    aliases: Vec<ImageRequest>,
    /// A profile. Repeatable.
    #[arg(long = "profile", value_name = "NAME")]
    profiles: Vec<String>,
    /// What a quota is of: containers. Repeatable.
    #[arg(long = "quota", value_name = "RESOURCE", value_parser = str::parse::<Resource>)]
    quotas: Vec<Resource>,
    /// A limit's name: burst. Repeatable.
    #[arg(long = "limit", value_name = "NAME", value_parser = str::parse::<TenantLimit>)]
    limits: Vec<TenantLimit>,
}

impl Taken {
    /// One by one.
    fn all(self) -> Vec<Allowed> {
        let Self { images, aliases, profiles, quotas, limits } = self;
        let images = images.into_iter().map(Allowed::Image);
        let aliases = aliases.into_iter().map(Allowed::Alias);
        let profiles = profiles.into_iter().map(Allowed::Profile);
        let quotas = quotas.into_iter().map(Allowed::Quota);
        images.chain(aliases).chain(profiles).chain(quotas).chain(limits.into_iter().map(Allowed::Limit)).collect()
    }
}

/// Said where a change changes nothing.
fn nothing() -> Failure {
    Error::invalid("say what: --image, --alias, --profile, --quota or --limit").into()
}

fn parse_limit(text: &str) -> Result<(TenantLimit, i64), String> {
    let (name, value) = text.split_once('=').ok_or("a limit is NAME=VALUE")?;
    TenantLimit::parse(name, value.parse().map_err(|_| "a limit's value is a number")?)
}

fn parse_quota(text: &str) -> Result<(Resource, i64), String> {
    let (resource, maximum) = text.split_once('=').ok_or("a quota is RESOURCE=MAXIMUM")?;
    let maximum = maximum.parse::<i64>().ok().filter(|maximum| *maximum >= 0);
    Ok((resource.parse()?, maximum.ok_or("a maximum is a number from 0")?))
}

fn parse_alias(text: &str) -> Result<(ImageRequest, ImageRef), String> {
    let (name, reference) = text.split_once('=').ok_or("an alias is NAME=REFERENCE")?;
    Ok((ImageRequest::parse(name)?, ImageRef::parse(reference)?))
}

impl Means {
    /// Refuses profiles that the configuration does not have; nothing is changed then.
    pub(super) fn check(&self, config: &Config) -> Result<(), Error> {
        match self.profiles.iter().find(|name| !config.profiles.contains_key(*name)) {
            Some(name) => Err(Error::new(Kind::NotFound, format!("the configuration has no profile {name:?}"))),
            None => Ok(()),
        }
    }

    /// Whether any are given.
    pub(super) fn any(&self) -> bool {
        let Self { images, aliases, profiles, quotas, limits } = self;
        !(images.is_empty() && aliases.is_empty() && profiles.is_empty() && quotas.is_empty() && limits.is_empty())
    }

    /// As the store takes them.
    pub(super) fn wanted(&self) -> TenantMeans {
        TenantMeans {
            images: Some(self.images.iter().cloned().collect()),
            aliases: Some(self.aliases.iter().cloned().collect()),
            profiles: Some(self.profiles.iter().cloned().collect()),
            quotas: Some(self.quotas.iter().copied().collect()),
            limits: Some(self.limits.iter().copied().collect()),
        }
    }
}

pub(super) async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Create { slug, means, file } => {
            means.check(&load(&file)?)?;
            let store = open(&file).await?;
            let entry = announce(&store, "createTenant", Object::named("tenant", slug.as_str())).await?;
            ended(&store, &entry, store.create_tenant(&slug, &means.wanted(), None, &entry).await).await?;
            print(&format!("tenant {slug} created\n"))?;
        }
        Command::Allow { slug, means, file } => {
            means.check(&load(&file)?)?;
            let store = open(&file).await?;
            let tenant = existing(&store, &slug).await?;
            if !means.any() {
                return Err(nothing());
            }
            let entry = announce(&store, "changeTenant", Object::from(&tenant)).await?;
            ended(&store, &entry, store.add_means(&tenant, &means.wanted(), &entry).await).await?;
            print(&format!("tenant {slug} changed\n"))?;
        }
        Command::Disallow { slug, image, mut taken, file } => {
            let store = open(&file).await?;
            let tenant = existing(&store, &slug).await?;
            taken.images.extend(image);
            let taken = taken.all();
            if taken.is_empty() {
                return Err(nothing());
            }
            let entry = announce(&store, "changeTenant", Object::from(&tenant)).await?;
            ended(&store, &entry, store.disallow(&tenant, &taken, &entry).await).await?;
            print(&format!("tenant {slug} changed\n"))?;
        }
        Command::Delete { slug, no_wait, file } => {
            let store = open(&file).await?;
            let tenant = existing(&store, &slug).await?;
            let entry = announce_end(&store, "deleteTenant", Object::from(&tenant)).await?;
            ended(&store, &entry, store.mark_deleting(&tenant, &entry).await).await?;
            if no_wait {
                print(&format!("tenant {slug} is being deleted; a running gateway takes away what it owns\n"))?;
            } else {
                wait_until_gone(&store, &tenant).await?;
            }
        }
        Command::List { json, file } => {
            let tenants = open(&file).await?.tenants().await?;
            if json {
                let all = tenants
                    .iter()
                    .map(|(tenant, deleting)| json!({"tenant": tenant.slug.as_str(), "deleting": deleting}));
                return Ok(print_json(&json!({"tenants": all.collect::<Vec<_>>()}))?);
            }
            for (tenant, deleting) in tenants {
                let note = if deleting { " (being deleted)" } else { "" };
                print(&format!("{}{note}\n", tenant.slug))?;
            }
        }
        Command::Show { slug, json, file } => {
            let store = open(&file).await?;
            let tenant = existing(&store, &slug).await?;
            if json {
                return Ok(print_json(&shown(&store, &tenant).await?)?);
            }
            let policy = store.image_policy(&tenant).await?;
            print(&format!("tenant {slug}\n"))?;
            for reference in &policy.allowed {
                print(&format!("image {reference}\n"))?;
            }
            for (alias, reference) in &policy.aliases {
                print(&format!("alias {}={reference}\n", alias.as_str()))?;
            }
            for profile in store.profiles(&tenant).await? {
                print(&format!("profile {profile}\n"))?;
            }
            for (limit, value) in store.tenant_limits(&tenant).await? {
                print(&format!("limit {}={value}\n", limit.as_str()))?;
            }
            for Usage { resource, limit, used } in store.usage(&tenant).await? {
                let used = if resource.is_momentary() { String::new() } else { format!(", {used} used") };
                print(&format!("quota {}={limit}{used}\n", resource.as_str()))?;
            }
        }
    }
    Ok(())
}

/// A tenant as JSON.
async fn shown(store: &Store, tenant: &Tenant) -> Result<Value, Error> {
    let ImagePolicy { allowed, aliases } = store.image_policy(tenant).await?;
    let images: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    let aliases: BTreeMap<&str, String> =
        aliases.iter().map(|(name, image)| (name.as_str(), image.to_string())).collect();
    let limits = store.tenant_limits(tenant).await?;
    let limits: BTreeMap<&str, i64> = limits.iter().map(|(limit, value)| (limit.as_str(), *value)).collect();
    let usage = store.usage(tenant).await?;
    let quotas = usage.iter().map(|Usage { resource, limit, used }| {
        let used = Some(used).filter(|_| !resource.is_momentary());
        json!({"resource": resource.as_str(), "limit": limit, "used": used})
    });
    Ok(json!({
        "tenant": tenant.slug.as_str(),
        "deleting": store.is_deleting(tenant).await?,
        "images": images,
        "aliases": aliases,
        "profiles": store.profiles(tenant).await?,
        "limits": limits,
        "quotas": quotas.collect::<Vec<_>>(),
    }))
}

/// Says how far the deletion is whenever that changes.
async fn wait_until_gone(store: &Store, tenant: &Tenant) -> Result<(), Error> {
    let mut told = None;
    while store.tenant(&tenant.slug).await?.is_some() {
        let left = store.all_containers(tenant).await?.len();
        if told != Some(left) {
            eprintln!("{left} container(s) of {} left; a running gateway takes them away", tenant.slug);
            told = Some(left);
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    print(&format!("tenant {} deleted\n", tenant.slug))
}

async fn open(file: &ConfigFile) -> Result<Store, Failure> {
    let Opened { store, .. } = app::open(&load(file)?, app::world()).await?;
    Ok(store)
}

async fn existing(store: &Store, slug: &TenantSlug) -> Result<Tenant, Error> {
    store.tenant(slug).await?.ok_or_else(|| Error::new(Kind::NotFound, format!("there is no tenant {slug}")))
}
