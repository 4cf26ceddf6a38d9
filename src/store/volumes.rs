//! The ledger of volumes.

use super::{Container, State, Store, is_duplicate};
use crate::domain::{Error, Kind, Resource, Result, Tenant, TenantSlug, VolumeName};

/// One row of the ledger.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Our identifier; Podman's name is made of it.
    pub id: String,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name within the tenant.
    pub name: VolumeName,
    /// Where in its life it is.
    pub state: State,
    /// Milliseconds since 1970.
    pub created_ms: i64,
    /// What it is known to take on the disk.
    pub stored_bytes: i64,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    tenant_id: String,
    slug: String,
    name: String,
    state: String,
    created_ms: i64,
    stored_bytes: i64,
}

/// Rows of the ledger with their tenants' names.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT v.id, v.tenant_id, t.slug, v.name, v.state, v.created_ms, v.stored_bytes
             FROM volumes v JOIN tenants t ON t.id = v.tenant_id ",
            $rest
        )
    };
}

impl Store {
    /// Takes the name and a place of the quota, under an identifier of ours, new. `Conflict` if the name is taken, `Quota` if there is no place.
    pub async fn reserve_volume(&self, tenant: &Tenant, name: &VolumeName, id: &str) -> Result<Volume> {
        let volume = Volume {
            id: id.to_owned(),
            tenant: tenant.clone(),
            name: name.clone(),
            state: State::Creating,
            created_ms: self.world.now_ms(),
            stored_bytes: 0,
        };
        let mut tx = self.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO volumes (id, tenant_id, name, state, created_ms, gateway)
             SELECT $1, id, $3, 'creating', $4, $5 FROM tenants WHERE id = $2 AND deleting = 0",
        )
        .bind(&volume.id)
        .bind(&tenant.id)
        .bind(name.as_str())
        .bind(volume.created_ms)
        .bind(&*self.gateway)
        .execute(&mut *tx)
        .await
        .map_err(|error| {
            if is_duplicate(&error) { Error::new(Kind::Conflict, "the name is in use") } else { error.into() }
        })?;
        if inserted.rows_affected() == 0 {
            return Err(Error::new(Kind::Conflict, "the tenant is being deleted"));
        }
        self.take(&mut tx, &tenant.id, Resource::StoredBytes, 0).await?;
        self.take(&mut tx, &tenant.id, Resource::Volumes, 1).await?;
        tx.commit().await?;
        Ok(volume)
    }

    /// The volume is made.
    pub async fn confirm_volume(&self, volume: &Volume) -> Result<()> {
        sqlx::query("UPDATE volumes SET state = 'ready' WHERE id = $1 AND state = 'creating'")
            .bind(&volume.id)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The volume is to go. `Conflict` if a container has it.
    pub async fn mark_volume_removing(&self, volume: &Volume) -> Result<()> {
        // In its turn: PostgreSQL would not see what a create beside it has taken and not committed yet.
        let mut tx = self.begin().await?;
        let marked = sqlx::query(
            "UPDATE volumes SET state = 'removing', gateway = $2
             WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM container_volumes WHERE volume_id = $1)",
        )
        .bind(&volume.id)
        .bind(&*self.gateway)
        .execute(&mut *tx)
        .await?;
        if marked.rows_affected() == 0 {
            return Err(Error::new(Kind::Conflict, "a container has the volume"));
        }
        tx.commit().await?;
        Ok(())
    }

    /// The volume is gone. Fine if it is forgotten.
    pub async fn forget_volume(&self, volume: &Volume) -> Result<()> {
        let mut tx = self.begin().await?;
        let stored: Option<i64> = sqlx::query_scalar("DELETE FROM volumes WHERE id = $1 RETURNING stored_bytes")
            .bind(&volume.id)
            .fetch_optional(&mut *tx)
            .await?;
        if let Some(stored) = stored {
            self.give_back(&mut tx, &volume.tenant.id, Resource::Volumes, 1).await?;
            self.give_back(&mut tx, &volume.tenant.id, Resource::StoredBytes, stored).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The tenant's volume of that name. Those half made do not exist yet.
    pub async fn volume(&self, tenant: &Tenant, name: &str) -> Result<Option<Volume>> {
        let row: Option<Row> =
            sqlx::query_as(select!("WHERE v.tenant_id = $1 AND v.name = $2 AND v.state <> 'creating'"))
                .bind(&tenant.id)
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
        row.map(Row::into_volume).transpose()
    }

    /// The tenant's volumes by name.
    pub async fn volumes(&self, tenant: &Tenant) -> Result<Vec<Volume>> {
        let rows: Vec<Row> =
            sqlx::query_as(select!("WHERE v.tenant_id = $1 AND v.state <> 'creating' ORDER BY v.name"))
                .bind(&tenant.id)
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(Row::into_volume).collect()
    }

    /// All of a tenant's volumes, whatever their state.
    pub async fn all_volumes(&self, tenant: &Tenant) -> Result<Vec<Volume>> {
        let rows: Vec<Row> = sqlx::query_as(select!("WHERE v.tenant_id = $1 ORDER BY v.name"))
            .bind(&tenant.id)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(Row::into_volume).collect()
    }

    /// The tenant's volume of this identifier of ours, whatever its state.
    pub async fn volume_by_id(&self, tenant: &Tenant, id: &str) -> Result<Option<Volume>> {
        let row: Option<Row> = sqlx::query_as(select!("WHERE v.tenant_id = $1 AND v.id = $2"))
            .bind(&tenant.id)
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(Row::into_volume).transpose()
    }

    /// Whether the volume of this identifier is still on its way in or out.
    pub async fn is_unsettled_volume(&self, id: &str) -> Result<bool> {
        let found: Option<i64> = sqlx::query_scalar("SELECT 1 FROM volumes WHERE id = $1 AND state <> 'ready'")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        Ok(found.is_some())
    }

    /// Whether any tenant's row has this identifier of ours.
    pub async fn has_volume(&self, id: &str) -> Result<bool> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM volumes WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        Ok(found.is_some())
    }

    /// Every tenant's volumes that are there to stay.
    pub async fn settled_volumes(&self) -> Result<Vec<Volume>> {
        let rows: Vec<Row> =
            sqlx::query_as(select!("WHERE v.state = 'ready' ORDER BY v.id")).fetch_all(&self.pool).await?;
        rows.into_iter().map(Row::into_volume).collect()
    }

    /// The volumes that a container has.
    pub async fn volumes_of(&self, container: &Container) -> Result<Vec<Volume>> {
        let rows: Vec<Row> = sqlx::query_as(select!(
            "JOIN container_volumes m ON m.volume_id = v.id WHERE m.container_id = $1 AND v.state = 'ready'"
        ))
        .bind(&container.id)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::into_volume).collect()
    }

    /// Every tenant's volumes that are on their way in or out, but for those that another living gateway is about.
    pub async fn unsettled_volumes(&self) -> Result<Vec<Volume>> {
        let rows: Vec<Row> = sqlx::query_as(select!(
            "WHERE v.state <> 'ready'
               AND v.gateway NOT IN (SELECT id FROM gateways WHERE id <> $1 AND seen_ms > $2)
             ORDER BY v.id"
        ))
        .bind(&*self.gateway)
        .bind(self.living_since(&self.pool).await?)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::into_volume).collect()
    }
}

impl Row {
    fn into_volume(self) -> Result<Volume> {
        Ok(Volume {
            tenant: Tenant { id: self.tenant_id, slug: TenantSlug::parse(&self.slug).map_err(Error::internal)? },
            name: VolumeName::parse(&self.name).map_err(Error::internal)?,
            state: State::parse(&self.state)?,
            id: self.id,
            created_ms: self.created_ms,
            stored_bytes: self.stored_bytes,
        })
    }
}
