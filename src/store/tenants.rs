//! Tenants and the images they may use.

use std::collections::{BTreeMap, BTreeSet};

use super::{Store, is_duplicate};
use crate::domain::{Error, ImageRef, ImageRequest, Kind, Result, Tenant, TenantSlug};

/// Which images a tenant may use, and what its short names mean. Empty means none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePolicy {
    /// Fully qualified references.
    pub allowed: BTreeSet<ImageRef>,
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
    pub async fn disallow_image(&self, tenant: &Tenant, reference: &ImageRef) -> Result<bool> {
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
            allowed: allowed.into_iter().map(reference).collect::<Result<_>>()?,
            aliases: aliases
                .into_iter()
                .map(|(alias, target)| Ok((ImageRequest::parse(&alias).map_err(Error::internal)?, reference(target)?)))
                .collect::<Result<_>>()?,
        })
    }
}

async fn write_images(conn: &mut sqlx::SqliteConnection, tenant: &Tenant, images: &ImagePolicy) -> Result<()> {
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
