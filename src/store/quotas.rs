//! What tenants have and may have: counters, never read and then written.

use std::collections::BTreeMap;

use sqlx::AnyConnection;

use super::Store;
use crate::domain::{Detail, Error, Kind, Resource, Result, Tenant};

/// One resource of one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Which.
    pub resource: Resource,
    /// The most it may have.
    pub limit: i64,
    /// What it has.
    pub used: i64,
}

impl Usage {
    /// Whether the tenant has more than it may.
    pub fn is_beyond(&self) -> bool {
        self.used > self.limit
    }
}

/// The maxima where a tenant's record says nothing else.
pub type DefaultQuotas = BTreeMap<Resource, i64>;

impl Store {
    /// What a tenant may have and has.
    pub async fn usage(&self, tenant: &Tenant) -> Result<Vec<Usage>> {
        let rows: Vec<(String, Option<i64>, i64)> =
            sqlx::query_as("SELECT resource, maximum, used FROM quotas WHERE tenant_id = $1")
                .bind(&tenant.id)
                .fetch_all(&self.pool)
                .await?;
        let known: BTreeMap<String, (Option<i64>, i64)> =
            rows.into_iter().map(|(resource, maximum, used)| (resource, (maximum, used))).collect();
        let of = |resource: Resource| {
            let (maximum, used) = known.get(resource.as_str()).copied().unwrap_or((None, 0));
            Usage { resource, limit: maximum.unwrap_or_else(|| self.default_quota(resource)), used }
        };
        Ok(Resource::ALL.into_iter().map(of).collect())
    }

    /// Its maxima other than the configuration's.
    pub async fn own_quotas(&self, tenant: &Tenant) -> Result<BTreeMap<Resource, i64>> {
        let rows: Vec<(String, i64)> =
            sqlx::query_as("SELECT resource, maximum FROM quotas WHERE tenant_id = $1 AND maximum IS NOT NULL")
                .bind(&tenant.id)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(|(name, maximum)| Ok((name.parse().map_err(Error::internal)?, maximum))).collect()
    }

    /// The most of one resource a tenant may have.
    pub async fn quota(&self, tenant: &Tenant, resource: Resource) -> Result<i64> {
        let maximum: Option<Option<i64>> =
            sqlx::query_scalar("SELECT maximum FROM quotas WHERE tenant_id = $1 AND resource = $2")
                .bind(&tenant.id)
                .bind(resource.as_str())
                .fetch_optional(&self.pool)
                .await?;
        Ok(maximum.flatten().unwrap_or_else(|| self.default_quota(resource)))
    }

    pub(super) fn default_quota(&self, resource: Resource) -> i64 {
        self.default_quotas.get().get(&resource).copied().unwrap_or(0)
    }

    /// Takes `amount` of a resource, or says how much there is and was. Within the caller's transaction.
    pub(super) async fn take(
        &self,
        conn: &mut AnyConnection,
        tenant_id: &str,
        resource: Resource,
        amount: i64,
    ) -> Result<()> {
        let default = self.default_quota(resource);
        sqlx::query("INSERT INTO quotas (tenant_id, resource) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(tenant_id)
            .bind(resource.as_str())
            .execute(&mut *conn)
            .await?;
        let taken: Option<i64> = sqlx::query_scalar(
            "UPDATE quotas SET used = used + $1
             WHERE tenant_id = $2 AND resource = $3 AND used + $1 <= COALESCE(maximum, $4) RETURNING used",
        )
        .bind(amount)
        .bind(tenant_id)
        .bind(resource.as_str())
        .bind(default)
        .fetch_optional(&mut *conn)
        .await?;
        if taken.is_some() {
            return Ok(());
        }
        let (used, limit): (i64, i64) =
            sqlx::query_as("SELECT used, COALESCE(maximum, $3) FROM quotas WHERE tenant_id = $1 AND resource = $2")
                .bind(tenant_id)
                .bind(resource.as_str())
                .bind(default)
                .fetch_one(&mut *conn)
                .await?;
        Err(exceeded(resource, used, limit, amount))
    }

    /// Counts `more` of a resource, or less, whatever the tenant may have. Within the caller's transaction.
    pub(super) async fn add(
        &self,
        conn: &mut AnyConnection,
        tenant: &Tenant,
        resource: Resource,
        more: i64,
    ) -> Result<Usage> {
        // A row first: databases hold what an upsert would insert against the checks, and less is no amount.
        sqlx::query("INSERT INTO quotas (tenant_id, resource) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(&tenant.id)
            .bind(resource.as_str())
            .execute(&mut *conn)
            .await?;
        let (used, limit): (i64, i64) = sqlx::query_as(
            "UPDATE quotas SET used = used + $3 WHERE tenant_id = $1 AND resource = $2
             RETURNING used, COALESCE(maximum, $4)",
        )
        .bind(&tenant.id)
        .bind(resource.as_str())
        .bind(more)
        .bind(self.default_quota(resource))
        .fetch_one(&mut *conn)
        .await?;
        Ok(Usage { resource, limit, used })
    }

    /// Gives `amount` of a resource back. Within the caller's transaction.
    pub(super) async fn give_back(
        &self,
        conn: &mut AnyConnection,
        tenant_id: &str,
        resource: Resource,
        amount: i64,
    ) -> Result<()> {
        sqlx::query("UPDATE quotas SET used = used - $1 WHERE tenant_id = $2 AND resource = $3")
            .bind(amount)
            .bind(tenant_id)
            .bind(resource.as_str())
            .execute(conn)
            .await?;
        Ok(())
    }
}

/// A refusal that says which quota, how much of it is used, and how much was asked for.
pub fn exceeded(resource: Resource, used: i64, limit: i64, amount: i64) -> Error {
    let asked = if amount > 0 { format!(", {amount} more asked for") } else { String::new() };
    let (resource, state) = (resource.as_str(), format!("{used} of {limit} used{asked}"));
    Error {
        details: vec![Detail { field: resource.to_owned(), message: state.clone() }],
        ..Error::new(Kind::Quota, format!("quota {resource}: {state}"))
    }
}
