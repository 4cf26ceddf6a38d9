//! Taking from a tenant what it was allowed, one thing at a time.

use std::fmt;

use super::tenants::stays;
use super::{Entry, Store};
use crate::domain::{Error, ImagePattern, ImageRequest, Kind, Resource, Result, Tenant, TenantLimit};

/// One thing that a tenant was allowed.
#[derive(Debug, Clone)]
pub enum Allowed {
    /// An image, or a pattern of them.
    Image(ImagePattern),
    /// A short name of its own.
    Alias(ImageRequest),
    /// A profile beside `default`.
    Profile(String),
    /// A maximum other than the configuration's.
    Quota(Resource),
    /// A limit other than the configuration's.
    Limit(TenantLimit),
}

impl Allowed {
    /// What takes it away, and what it is called there.
    fn statement(&self) -> (&'static str, &str) {
        match self {
            Self::Image(image) => ("DELETE FROM tenant_images WHERE tenant_id = $1 AND reference = $2", image.as_str()),
            Self::Alias(alias) => ("DELETE FROM tenant_aliases WHERE tenant_id = $1 AND alias = $2", alias.as_str()),
            Self::Profile(name) => ("DELETE FROM tenant_profiles WHERE tenant_id = $1 AND profile = $2", name),
            Self::Quota(resource) => (
                "UPDATE quotas SET maximum = NULL WHERE tenant_id = $1 AND resource = $2 AND maximum IS NOT NULL",
                resource.as_str(),
            ),
            Self::Limit(limit) => ("DELETE FROM tenant_limits WHERE tenant_id = $1 AND name = $2", limit.as_str()),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            Self::Image(_) => "image",
            Self::Alias(_) => "alias",
            Self::Profile(_) => "profile",
            Self::Quota(_) => "quota",
            Self::Limit(_) => "limit",
        };
        write!(f, "{kind} {}", self.statement().1)
    }
}

impl Store {
    /// Takes all of these from a tenant, or none: `NotFound` for what it was not allowed. What it has stays.
    pub async fn disallow(&self, tenant: &Tenant, taken: &[Allowed], _entry: &Entry) -> Result<()> {
        let mut tx = self.begin().await?;
        stays(&mut tx, tenant).await?;
        for one in taken {
            let (statement, name) = one.statement();
            let done = sqlx::query(statement).bind(&tenant.id).bind(name).execute(&mut *tx).await?;
            if done.rows_affected() == 0 {
                return Err(Error::new(Kind::NotFound, format!("{} has no {one} of its own", tenant.slug)));
            }
        }
        Ok(tx.commit().await?)
    }
}
