//! Tenants and the images they may use.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use sqlx::AnyConnection;

use super::{Entry, Store, is_duplicate};
use crate::domain::{
    Attempt, Error, ImagePattern, ImageRef, ImageRequest, Kind, Resource, Result, Tenant, TenantLimit, TenantSlug,
};

/// Which images a tenant may use, and what its short names mean. Empty means none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Fully qualified references, and patterns of them.
    pub allowed: BTreeSet<ImagePattern>,
    /// The tenant's own short names.
    pub aliases: BTreeMap<ImageRequest, ImageRef>,
}

/// What a tenant may use. What is none stays as it is; the rest is replaced as a whole.
#[derive(Debug, Clone, Default)]
pub struct TenantMeans {
    /// Images, and patterns of them.
    pub images: Option<BTreeSet<ImagePattern>>,
    /// Its own short names.
    pub aliases: Option<BTreeMap<ImageRequest, ImageRef>>,
    /// Profiles beside `default`.
    pub profiles: Option<BTreeSet<String>>,
    /// Maxima other than the configuration's.
    pub quotas: Option<BTreeMap<Resource, i64>>,
    /// Limits other than the configuration's.
    pub limits: Option<BTreeMap<TenantLimit, i64>>,
}

/// What is replaced, and by what.
impl fmt::Display for TenantMeans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |what: &str, all: Vec<String>| match &all[..] {
            [] => format!("no {what}"),
            all => format!("{what} {}", all.join(" ")),
        };
        let images = self.images.as_ref().map(|all| listed("images", all.iter().map(ToString::to_string).collect()));
        let alias = |(name, target): (&ImageRequest, &ImageRef)| format!("{}={target}", name.as_str());
        let aliases = self.aliases.as_ref().map(|all| listed("aliases", all.iter().map(alias).collect()));
        let profiles = self.profiles.as_ref().map(|all| listed("profiles", all.iter().cloned().collect()));
        let quota = |(resource, maximum): (&Resource, &i64)| format!("{}={maximum}", resource.as_str());
        let quotas = self.quotas.as_ref().map(|all| listed("quotas", all.iter().map(quota).collect()));
        let limit = |(limit, value): (&TenantLimit, &i64)| format!("{}={value}", limit.as_str());
        let limits = self.limits.as_ref().map(|all| listed("limits", all.iter().map(limit).collect()));
        let said: Vec<String> = [images, aliases, profiles, quotas, limits].into_iter().flatten().collect();
        f.write_str(&said.join("; "))
    }
}

impl Store {
    /// Replaces what a tenant may use. `Conflict` while it is being deleted.
    pub async fn set_means(&self, tenant: &Tenant, means: &TenantMeans, _entry: &Entry) -> Result<()> {
        let mut tx = self.begin().await?;
        stays(&mut tx, tenant).await?;
        let mut clear: Vec<&'static str> = Vec::new();
        clear.extend(means.images.as_ref().map(|_| "DELETE FROM tenant_images WHERE tenant_id = $1"));
        clear.extend(means.aliases.as_ref().map(|_| "DELETE FROM tenant_aliases WHERE tenant_id = $1"));
        clear.extend(means.profiles.as_ref().map(|_| "DELETE FROM tenant_profiles WHERE tenant_id = $1"));
        clear.extend(means.quotas.as_ref().map(|_| "UPDATE quotas SET maximum = NULL WHERE tenant_id = $1"));
        clear.extend(means.limits.as_ref().map(|_| "DELETE FROM tenant_limits WHERE tenant_id = $1"));
        for statement in clear {
            sqlx::query(statement).bind(&tenant.id).execute(&mut *tx).await?;
        }
        write_means(&mut tx, tenant, means).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Adds to what a tenant may use; an alias, quota or limit that exists is changed. `Conflict` as for a change.
    pub async fn add_means(&self, tenant: &Tenant, means: &TenantMeans, _entry: &Entry) -> Result<()> {
        let mut tx = self.begin().await?;
        stays(&mut tx, tenant).await?;
        write_means(&mut tx, tenant, means).await?;
        tx.commit().await?;
        Ok(())
    }

    /// All tenants by name, each with whether it is being deleted.
    pub async fn tenants(&self) -> Result<Vec<(Tenant, bool)>> {
        let rows: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT id, slug, deleting FROM tenants ORDER BY slug").fetch_all(&self.pool).await?;
        let tenant = |(id, slug, deleting): (String, String, i64)| {
            let slug = TenantSlug::parse(&slug).map_err(Error::internal)?;
            Ok((Tenant { id, slug }, deleting != 0))
        };
        rows.into_iter().map(tenant).collect()
    }

    /// Whether the tenant is being deleted, or is gone.
    pub async fn is_deleting(&self, tenant: &Tenant) -> Result<bool> {
        let deleting: Option<i64> = sqlx::query_scalar("SELECT deleting FROM tenants WHERE id = $1")
            .bind(&tenant.id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(deleting != Some(0))
    }

    /// Makes a tenant with what it may use. `Conflict` if the name is taken.
    pub async fn create_tenant(
        &self,
        slug: &TenantSlug,
        means: &TenantMeans,
        attempt: Option<&Attempt>,
        entry: &Entry,
    ) -> Result<Tenant> {
        let tenant = Tenant { id: self.id_for(attempt), slug: slug.clone() };
        let mut tx = self.begin().await?;
        self.insert_tenant(&mut tx, &tenant, means).await?;
        tx.commit().await?;
        entry.identify(&tenant.id);
        Ok(tenant)
    }

    pub(super) async fn insert_tenant(
        &self,
        conn: &mut AnyConnection,
        tenant: &Tenant,
        means: &TenantMeans,
    ) -> Result<()> {
        sqlx::query("INSERT INTO tenants (id, slug, created_ms) VALUES ($1, $2, $3)")
            .bind(&tenant.id)
            .bind(tenant.slug.as_str())
            .bind(self.world.now_ms())
            .execute(&mut *conn)
            .await
            .map_err(|error| {
                if is_duplicate(&error) {
                    Error::new(Kind::Conflict, format!("there is a tenant {} already", tenant.slug))
                } else {
                    error.into()
                }
            })?;
        write_means(conn, tenant, means).await
    }

    /// A tenant by name.
    pub async fn tenant(&self, slug: &TenantSlug) -> Result<Option<Tenant>> {
        let id: Option<String> = sqlx::query_scalar("SELECT id FROM tenants WHERE slug = $1")
            .bind(slug.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(id.map(|id| Tenant { id, slug: slug.clone() }))
    }

    /// Whether there is a tenant of that identifier.
    pub async fn has_tenant(&self, id: &str) -> Result<bool> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM tenants WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        Ok(found.is_some())
    }

    /// Marks a tenant for deletion: from now on its accounts are nobody, and what it owns goes.
    pub async fn mark_deleting(&self, tenant: &Tenant, _entry: &Entry) -> Result<()> {
        sqlx::query("UPDATE tenants SET deleting = 1 WHERE id = $1").bind(&tenant.id).execute(&self.pool).await?;
        Ok(())
    }

    /// Tenants that are marked for deletion.
    pub async fn deleting_tenants(&self) -> Result<Vec<Tenant>> {
        let rows: Vec<(String, String)> =
            sqlx::query_as("SELECT id, slug FROM tenants WHERE deleting = 1 ORDER BY slug")
                .fetch_all(&self.pool)
                .await?;
        let tenant =
            |(id, slug): (String, String)| Ok(Tenant { id, slug: TenantSlug::parse(&slug).map_err(Error::internal)? });
        rows.into_iter().map(tenant).collect()
    }

    /// The tenant owns nothing any more: takes away its record, with its accounts, quotas and user ids.
    pub async fn forget_tenant(&self, tenant: &Tenant, _entry: &Entry) -> Result<()> {
        sqlx::query("DELETE FROM tenants WHERE id = $1 AND deleting = 1").bind(&tenant.id).execute(&self.pool).await?;
        Ok(())
    }

    /// What images a tenant may use.
    pub async fn image_policy(&self, tenant: &Tenant) -> Result<ImagePolicy> {
        let allowed: Vec<String> = sqlx::query_scalar("SELECT reference FROM tenant_images WHERE tenant_id = $1")
            .bind(&tenant.id)
            .fetch_all(&self.pool)
            .await?;
        let aliases: Vec<(String, String)> =
            sqlx::query_as("SELECT alias, reference FROM tenant_aliases WHERE tenant_id = $1")
                .bind(&tenant.id)
                .fetch_all(&self.pool)
                .await?;
        let reference = |text: String| ImageRef::parse(&text).map_err(Error::internal);
        Ok(ImagePolicy {
            allowed: allowed
                .iter()
                .map(|text| ImagePattern::parse(text).map_err(Error::internal))
                .collect::<Result<_>>()?,
            aliases: aliases
                .into_iter()
                .map(|(alias, target)| Ok((ImageRequest::parse(&alias).map_err(Error::internal)?, reference(target)?)))
                .collect::<Result<_>>()?,
        })
    }
}

impl Store {
    /// What bounds a tenant beside its quotas, where that is not the configuration alone.
    pub async fn tenant_limits(&self, tenant: &Tenant) -> Result<BTreeMap<TenantLimit, i64>> {
        let found: Vec<(String, i64)> = sqlx::query_as("SELECT name, value FROM tenant_limits WHERE tenant_id = $1")
            .bind(&tenant.id)
            .fetch_all(&self.pool)
            .await?;
        found.into_iter().map(|(name, value)| Ok((name.parse().map_err(Error::internal)?, value))).collect()
    }

    /// What the records say of how fast tenants may ask, by their ids.
    pub async fn own_rates(&self) -> Result<Vec<(String, TenantLimit, u32)>> {
        let names = [TenantLimit::RequestsPerSecond, TenantLimit::Burst];
        let found: Vec<(String, String, i64)> =
            sqlx::query_as("SELECT tenant_id, name, value FROM tenant_limits WHERE name IN ($1, $2)")
                .bind(names[0].as_str())
                .bind(names[1].as_str())
                .fetch_all(&self.pool)
                .await?;
        let read = |(tenant, name, value): (String, String, i64)| {
            let value = u32::try_from(value).map_err(Error::internal)?;
            Ok((tenant, name.parse().map_err(Error::internal)?, value))
        };
        found.into_iter().map(read).collect()
    }

    /// The profiles a tenant was given beside `default`.
    pub async fn profiles(&self, tenant: &Tenant) -> Result<BTreeSet<String>> {
        let found: Vec<String> = sqlx::query_scalar("SELECT profile FROM tenant_profiles WHERE tenant_id = $1")
            .bind(&tenant.id)
            .fetch_all(&self.pool)
            .await?;
        Ok(found.into_iter().collect())
    }

    /// The tenant's block of user ids: the lowest that nobody has, once it asks for the first time; after a restore, none
    /// that somebody may have whom these records do not know.
    pub async fn user_id_block(&self, tenant: &Tenant) -> Result<u32> {
        let known: Option<i64> = sqlx::query_scalar("SELECT block FROM tenant_user_ids WHERE tenant_id = $1")
            .bind(&tenant.id)
            .fetch_optional(&self.pool)
            .await?;
        let block = match known {
            Some(block) => block,
            None => {
                // In its turn: two who choose at once would choose the same.
                let mut tx = self.begin().await?;
                let block = sqlx::query_scalar(
                    "INSERT INTO tenant_user_ids (block, tenant_id)
                     SELECT MIN(candidate.block), $1 FROM (
                         SELECT keeps_strays AS block FROM installation UNION ALL SELECT block + 1 FROM tenant_user_ids
                     ) AS candidate
                     WHERE candidate.block >= (SELECT keeps_strays FROM installation)
                       AND candidate.block NOT IN (SELECT block FROM tenant_user_ids)
                     ON CONFLICT (tenant_id) DO UPDATE SET tenant_id = excluded.tenant_id
                     RETURNING block",
                )
                .bind(&tenant.id)
                .fetch_one(&mut *tx)
                .await?;
                tx.commit().await?;
                block
            }
        };
        u32::try_from(block).map_err(Error::internal)
    }
}

/// Whether there is something to change, in this transaction.
pub(super) async fn stays(conn: &mut AnyConnection, tenant: &Tenant) -> Result<()> {
    let deleting: Option<i64> =
        sqlx::query_scalar("SELECT deleting FROM tenants WHERE id = $1").bind(&tenant.id).fetch_optional(conn).await?;
    if deleting == Some(0) { Ok(()) } else { Err(Error::new(Kind::Conflict, "this tenant is being deleted")) }
}

async fn write_means(conn: &mut AnyConnection, tenant: &Tenant, means: &TenantMeans) -> Result<()> {
    for reference in means.images.iter().flatten() {
        sqlx::query("INSERT INTO tenant_images (tenant_id, reference) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&tenant.id)
            .bind(reference.as_str())
            .execute(&mut *conn)
            .await?;
    }
    for (alias, reference) in means.aliases.iter().flatten() {
        sqlx::query(
            "INSERT INTO tenant_aliases (tenant_id, alias, reference) VALUES ($1, $2, $3)
             ON CONFLICT (tenant_id, alias) DO UPDATE SET reference = excluded.reference",
        )
        .bind(&tenant.id)
        .bind(alias.as_str())
        .bind(reference.as_str())
        .execute(&mut *conn)
        .await?;
    }
    for profile in means.profiles.iter().flatten() {
        sqlx::query("INSERT INTO tenant_profiles (tenant_id, profile) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&tenant.id)
            .bind(profile)
            .execute(&mut *conn)
            .await?;
    }
    for (resource, maximum) in means.quotas.iter().flatten() {
        sqlx::query(
            "INSERT INTO quotas (tenant_id, resource, maximum) VALUES ($1, $2, $3)
             ON CONFLICT (tenant_id, resource) DO UPDATE SET maximum = excluded.maximum",
        )
        .bind(&tenant.id)
        .bind(resource.as_str())
        .bind(*maximum)
        .execute(&mut *conn)
        .await?;
    }
    for (limit, value) in means.limits.iter().flatten() {
        sqlx::query(
            "INSERT INTO tenant_limits (tenant_id, name, value) VALUES ($1, $2, $3)
             ON CONFLICT (tenant_id, name) DO UPDATE SET value = excluded.value",
        )
        .bind(&tenant.id)
        .bind(limit.as_str())
        .bind(*value)
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}
