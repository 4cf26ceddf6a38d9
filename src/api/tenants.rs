//! Tenants, for platform administrators.

use std::collections::{BTreeMap, BTreeSet};

use poem_openapi::param::Path;
use poem_openapi::payload::Json;
use poem_openapi::types::Example;
use poem_openapi::{Object, OpenApi};

use super::caller::{Caller, Tenants as TenantsScope};
use super::json::Strict;
use super::model::answer;
use super::usage::ResourceUsage;
use super::{Context, Tag};
use crate::domain::{
    Attempt, Details, ImagePattern, ImageRef, ImageRequest, Resource, Result, Tenant, TenantLimit, TenantSlug,
};
use crate::store::{ImagePolicy, Object, TenantMeans};

pub struct Tenants(pub Context);

/// The tenant to make.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct CreateTenantRequest {
    /// 1 to 32 of a-z, 0-9 and `-`.
    slug: String,
    /// Full references it may use, and patterns whose repository or tag ends in `*`. None without.
    images: Option<Vec<String>>,
    /// Its own short names, and the full references they mean.
    aliases: Option<BTreeMap<String, String>>,
    /// Profiles of the configuration that it may use beside `default`.
    profiles: Option<Vec<String>>,
    /// Maxima other than the configuration's, by resource.
    quotas: Option<BTreeMap<String, i64>>,
    /// How fast it may ask, other than the configuration says: `requests_per_second`, `burst`. And what its containers
    /// may have at most, whatever their profile says: `expires_seconds` (where a request says nothing),
    /// `max_expires_seconds`, the same for commands in them (`exec_seconds`, `max_exec_seconds`),
    /// `container_memory_bytes`, `container_cpu_millis`, `container_pids`.
    limits: Option<BTreeMap<String, i64>>,
}

impl Example for CreateTenantRequest {
    fn example() -> Self {
        Self {
            slug: "acme".into(),
            images: Some(vec!["docker.io/library/alpine:latest".into()]),
            aliases: Some(BTreeMap::from([("alpine".into(), "docker.io/library/alpine:latest".into())])),
            profiles: None,
            quotas: Some(BTreeMap::from([("containers".into(), 50)])),
            limits: Some(BTreeMap::from([("max_expires_seconds".into(), 86_400)])),
        }
    }
}

/// What to change of a tenant. What is there replaces what was; what is left out stays.
#[derive(Object)]
#[oai(deny_unknown_fields, example)]
struct ChangeTenantRequest {
    /// All that it may use from now on. Containers made from others stay.
    images: Option<Vec<String>>,
    /// All of its own short names.
    aliases: Option<BTreeMap<String, String>>,
    /// All profiles that it may use beside `default`.
    profiles: Option<Vec<String>>,
    /// All maxima other than the configuration's.
    quotas: Option<BTreeMap<String, i64>>,
    /// All limits of its own. Containers that it has keep theirs.
    limits: Option<BTreeMap<String, i64>>,
}

impl Example for ChangeTenantRequest {
    fn example() -> Self {
        Self {
            images: Some(vec!["docker.io/library/alpine:latest".into(), "quay.io/acme/*".into()]),
            aliases: None,
            profiles: None,
            quotas: None,
            limits: None,
        }
    }
}

/// A tenant in the list.
#[derive(Object)]
struct TenantItem {
    /// Its name.
    slug: String,
    /// Whether it is being deleted.
    deleting: bool,
}

/// A tenant.
#[derive(Object)]
struct TenantDetails {
    /// Its name.
    slug: String,
    /// Whether it is being deleted: then its accounts are nobody, and what it has goes.
    deleting: bool,
    /// Containers that it has, or that are left to remove.
    containers: u64,
    /// What it may use.
    images: Vec<String>,
    /// Its own short names, and the full references they mean.
    aliases: BTreeMap<String, String>,
    /// Profiles that it may use beside `default`.
    profiles: Vec<String>,
    /// Maxima other than the configuration's, by resource.
    quotas: BTreeMap<String, i64>,
    /// Limits of its own.
    limits: BTreeMap<String, i64>,
    /// What it may have, and has; commands and streams as they are open on the gateway that answers.
    usage: Vec<ResourceUsage>,
}

answer! {
    /// A tenant.
    TenantResponse { tenant: TenantDetails }
    example TenantDetails {
        slug: "acme".into(),
        deleting: false,
        containers: 3,
        images: vec!["docker.io/library/alpine:latest".into()],
        aliases: BTreeMap::from([("alpine:latest".into(), "docker.io/library/alpine:latest".into())]),
        profiles: vec![],
        quotas: BTreeMap::from([("containers".into(), 50)]),
        limits: BTreeMap::from([("max_expires_seconds".into(), 86_400)]),
        usage: vec![ResourceUsage { resource: "containers".into(), limit: 50, used: 3 }],
    }
}
answer! {
    /// All tenants, by name.
    TenantListResponse { tenants: Vec<TenantItem> }
    example vec![TenantItem { slug: "acme".into(), deleting: false }]
}

#[OpenApi(tag = "Tag::Administration")]
impl Tenants {
    /// Create a tenant
    ///
    /// It may use no image that is not named here.
    #[oai(path = "/tenants", method = "post", operation_id = "createTenant")]
    async fn create(
        &self,
        who: Caller<TenantsScope>,
        body: Strict<CreateTenantRequest>,
    ) -> poem::Result<Json<TenantResponse>> {
        let CreateTenantRequest { slug, images, aliases, profiles, quotas, limits } = body.0;
        let mut wrong = Details::default();
        let slug = wrong.take("slug", TenantSlug::parse(&slug));
        let means = self.means(Wanted { images, aliases, profiles, quotas, limits }, &mut wrong);
        let Some(slug) = slug else { return Err(wrong.into_error().into()) };
        wrong.finish()?;
        if let Some((attempt, id)) = Attempt::earlier(who.attempt())
            && let Some(made) = self.0.store.tenant(&slug).await?.filter(|tenant| tenant.id == id)
        {
            attempt.was_made();
            return self.details(made).await;
        }
        let asker = who.principal().noting(means.to_string());
        let entry = self.0.policy.announce(&asker, Object::named("tenant", slug.as_str())).await?;
        let tenant = self.0.store.create_tenant(&slug, &means, who.attempt(), &entry).await?;
        self.details(tenant).await
    }

    /// List tenants
    ///
    /// All of them.
    #[oai(path = "/tenants", method = "get", operation_id = "listTenants")]
    async fn list(&self, _who: Caller<TenantsScope>) -> poem::Result<Json<TenantListResponse>> {
        let tenants = self.0.store.tenants().await?.into_iter();
        let item = |(tenant, deleting): (Tenant, bool)| TenantItem { slug: tenant.slug.to_string(), deleting };
        Ok(TenantListResponse::of(tenants.map(item).collect()))
    }

    /// Read a tenant
    ///
    /// What it may use and has; while it is being deleted, how far that is.
    #[oai(path = "/tenants/:slug", method = "get", operation_id = "getTenant")]
    async fn read(
        &self,
        who: Caller<TenantsScope>,
        /// The tenant.
        slug: Path<String>,
    ) -> poem::Result<Json<TenantResponse>> {
        self.details(self.0.policy.tenant(who.principal(), who.scope(), &slug).await?).await
    }

    /// Change a tenant
    ///
    /// What is named is replaced as a whole. What the tenant has already stays, also beyond a lower quota.
    #[oai(path = "/tenants/:slug", method = "patch", operation_id = "changeTenant")]
    async fn change(
        &self,
        who: Caller<TenantsScope>,
        /// The tenant.
        slug: Path<String>,
        body: Strict<ChangeTenantRequest>,
    ) -> poem::Result<Json<TenantResponse>> {
        let ChangeTenantRequest { images, aliases, profiles, quotas, limits } = body.0;
        let mut wrong = Details::default();
        let means = self.means(Wanted { images, aliases, profiles, quotas, limits }, &mut wrong);
        wrong.finish()?;
        let tenant = self.0.policy.tenant(who.principal(), who.scope(), &slug).await?;
        let asker = who.principal().noting(means.to_string());
        let entry = self.0.policy.announce(&asker, Object::from(&tenant)).await?;
        self.0.store.set_means(&tenant, &means, &entry).await?;
        self.details(tenant).await
    }

    /// Delete a tenant
    ///
    /// From now on its accounts are nobody. Everything it has goes, then its record; reading it tells how far that is.
    #[oai(path = "/tenants/:slug", method = "delete", operation_id = "deleteTenant")]
    async fn delete(
        &self,
        who: Caller<TenantsScope>,
        /// The tenant.
        slug: Path<String>,
    ) -> poem::Result<Json<TenantResponse>> {
        let tenant = self.0.policy.tenant(who.principal(), who.scope(), &slug).await?;
        let entry = self.0.policy.announce_end(who.principal(), Object::from(&tenant)).await?;
        self.0.store.mark_deleting(&tenant, &entry).await?;
        self.details(tenant).await
    }
}

/// What a request says of a tenant, as it came.
struct Wanted {
    images: Option<Vec<String>>,
    aliases: Option<BTreeMap<String, String>>,
    profiles: Option<Vec<String>>,
    quotas: Option<BTreeMap<String, i64>>,
    limits: Option<BTreeMap<String, i64>>,
}

/// Parses numbers by name, and notes what is wrong with each.
fn numbers<T: Ord>(
    field: &str,
    all: BTreeMap<String, i64>,
    wrong: &mut Details,
    parse: impl Fn(&str, i64) -> Result<(T, i64), String>,
) -> BTreeMap<T, i64> {
    all.into_iter().filter_map(|(name, value)| wrong.take(&format!("{field}.{name}"), parse(&name, value))).collect()
}

impl Tenants {
    fn means(&self, wanted: Wanted, wrong: &mut Details) -> TenantMeans {
        let Wanted { images, aliases, profiles, quotas, limits } = wanted;
        let image = |text: &String| ImagePattern::parse(text).map_err(|error| format!("{text:?}: {error}"));
        let alias = |(name, target): (&String, &String)| {
            let wrong = |error: String| format!("{name:?}: {error}");
            Ok((ImageRequest::parse(name).map_err(wrong)?, ImageRef::parse(target).map_err(wrong)?))
        };
        let profile = |name: &String| match self.0.policy.has_profile(name) {
            true => Ok(name.clone()),
            false => Err(format!("the configuration has no profile {name:?}")),
        };
        let quota = |name: &str, maximum: i64| match (name.parse::<Resource>(), maximum) {
            (Ok(resource), 0..) => Ok((resource, maximum)),
            (Ok(_), _) => Err("a maximum is a number from 0".to_owned()),
            (Err(error), _) => Err(error),
        };
        TenantMeans {
            images: wrong
                .take_optional("images", images, |all| all.iter().map(image).collect::<Result<BTreeSet<_>, _>>()),
            aliases: wrong.take_optional("aliases", aliases, |all| all.iter().map(alias).collect()),
            profiles: wrong.take_optional("profiles", profiles, |all| all.iter().map(profile).collect()),
            quotas: quotas.map(|all| numbers("quotas", all, wrong, quota)),
            limits: limits.map(|all| numbers("limits", all, wrong, TenantLimit::parse)),
        }
    }

    async fn details(&self, tenant: Tenant) -> poem::Result<Json<TenantResponse>> {
        let store = &self.0.store;
        let ImagePolicy { allowed, aliases } = store.image_policy(&tenant).await?;
        let limits = store.tenant_limits(&tenant).await?;
        let quotas = store.own_quotas(&tenant).await?;
        let usage = self.0.policy.usage_of(&tenant).await?;
        Ok(TenantResponse::of(TenantDetails {
            deleting: store.is_deleting(&tenant).await?,
            containers: store.all_containers(&tenant).await?.len() as u64,
            images: allowed.iter().map(ToString::to_string).collect(),
            aliases: aliases.iter().map(|(name, target)| (name.as_str().to_owned(), target.to_string())).collect(),
            profiles: store.profiles(&tenant).await?.into_iter().collect(),
            limits: limits.into_iter().map(|(limit, value)| (limit.as_str().to_owned(), value)).collect(),
            quotas: quotas.into_iter().map(|(resource, most)| (resource.as_str().to_owned(), most)).collect(),
            usage: usage.into_iter().map(ResourceUsage::from).collect(),
            slug: tenant.slug.to_string(),
        }))
    }
}
