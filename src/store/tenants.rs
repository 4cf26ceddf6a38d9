//! Tenants and the images they may use.

use std::collections::{BTreeMap, BTreeSet};

use super::{Store, is_duplicate};
use crate::domain::{Error, ImagePattern, ImageRef, ImageRequest, Kind, Result, Tenant, TenantSlug};

/// Which images a tenant may use, and what its short names mean. Empty means none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Fully qualified references, and patterns of them.
    pub allowed: BTreeSet<ImagePattern>,
    /// The tenant's own short names.
    pub aliases: BTreeMap<ImageRequest, ImageRef>,
}

impl Store {
    /// Makes a tenant with its images. `Conflict` if the name is taken.
    pub async fn create_tenant(&self, slug: &TenantSlug, images: &ImagePolicy) -> Result<Tenant> {
        let tenant = Tenant { id: (self.world.new_id)(), slug: slug.clone() };
        let mut tx = self.begin().await?;
        sqlx::query("INSERT INTO tenants (id, slug, created_ms) VALUES ($1, $2, $3)")
            .bind(&tenant.id)
            .bind(slug.as_str())
            .bind(self.world.now_ms())
            .execute(&mut *tx)
            .await
            .map_err(|error| {
                if is_duplicate(&error) {
                    Error::new(Kind::Conflict, format!("there is a tenant {slug} already"))
                } else {
                    error.into()
                }
            })?;
        write_images(&mut tx, &tenant, images).await?;
        tx.commit().await?;
        Ok(tenant)
    }

    /// Adds images and aliases to what a tenant has; an alias that exists is changed.
    pub async fn allow_images(&self, tenant: &Tenant, images: &ImagePolicy) -> Result<()> {
        let mut tx = self.begin().await?;
        write_images(&mut tx, tenant, images).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes a reference from a tenant's list. Containers made from it stay.
    pub async fn disallow_image(&self, tenant: &Tenant, reference: &ImagePattern) -> Result<bool> {
        let done = sqlx::query("DELETE FROM tenant_images WHERE tenant_id = $1 AND reference = $2")
            .bind(&tenant.id)
            .bind(reference.as_str())
            .execute(&self.pool)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// A tenant by name.
    pub async fn tenant(&self, slug: &TenantSlug) -> Result<Option<Tenant>> {
        let id: Option<String> = sqlx::query_scalar("SELECT id FROM tenants WHERE slug = $1")
            .bind(slug.as_str())
            .fetch_optional(&self.pool)
            .await?;
        Ok(id.map(|id| Tenant { id, slug: slug.clone() }))
    }

    /// Marks a tenant for deletion: from now on its accounts are nobody, and what it owns goes.
    pub async fn mark_deleting(&self, tenant: &Tenant) -> Result<()> {
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
    pub async fn forget_tenant(&self, tenant: &Tenant) -> Result<()> {
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
    /// Gives a tenant profiles beside `default`.
    pub async fn give_profiles(&self, tenant: &Tenant, profiles: &BTreeSet<String>) -> Result<()> {
        let mut tx = self.begin().await?;
        for profile in profiles {
            sqlx::query("INSERT INTO tenant_profiles (tenant_id, profile) VALUES ($1, $2) ON CONFLICT DO NOTHING")
                .bind(&tenant.id)
                .bind(profile)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The profiles a tenant was given beside `default`.
    pub async fn profiles(&self, tenant: &Tenant) -> Result<BTreeSet<String>> {
        let found: Vec<String> = sqlx::query_scalar("SELECT profile FROM tenant_profiles WHERE tenant_id = $1")
            .bind(&tenant.id)
            .fetch_all(&self.pool)
            .await?;
        Ok(found.into_iter().collect())
    }

    /// The tenant's block of user ids: the lowest that nobody has, once it asks for the first time.
    pub async fn user_id_block(&self, tenant: &Tenant) -> Result<u32> {
        let known: Option<i64> = sqlx::query_scalar("SELECT block FROM tenant_user_ids WHERE tenant_id = $1")
            .bind(&tenant.id)
            .fetch_optional(&self.pool)
            .await?;
        let block = match known {
            Some(block) => block,
            None => {
                sqlx::query_scalar(
                    "INSERT INTO tenant_user_ids (block, tenant_id)
                     SELECT MIN(candidate.block), $1 FROM (
                         SELECT 0 AS block UNION ALL SELECT block + 1 FROM tenant_user_ids
                     ) AS candidate WHERE candidate.block NOT IN (SELECT block FROM tenant_user_ids)
                     ON CONFLICT (tenant_id) DO UPDATE SET tenant_id = excluded.tenant_id
                     RETURNING block",
                )
                .bind(&tenant.id)
                .fetch_one(&self.pool)
                .await?
            }
        };
        u32::try_from(block).map_err(Error::internal)
    }
}

async fn write_images(conn: &mut sqlx::AnyConnection, tenant: &Tenant, images: &ImagePolicy) -> Result<()> {
    for reference in &images.allowed {
        sqlx::query("INSERT INTO tenant_images (tenant_id, reference) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&tenant.id)
            .bind(reference.as_str())
            .execute(&mut *conn)
            .await?;
    }
    for (alias, reference) in &images.aliases {
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
    Ok(())
}
