//! The ledger of containers: the authority on ownership.

use super::{Store, is_duplicate};
use crate::domain::{ContainerName, EngineId, Error, Kind, Result, Tenant, TenantSlug};

/// Where a container is in its life, as the ledger sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its name is taken; Podman may or may not have it yet.
    Creating,
    /// Podman has it, under the recorded id.
    Ready,
    /// It is going; Podman may or may not have it still.
    Removing,
}

/// One row of the ledger.
#[derive(Debug, Clone)]
pub struct Container {
    /// Our identifier, the label by which Podman's object is found before its id is known.
    pub id: String,
    /// Whose it is.
    pub tenant: Tenant,
    /// Its name within the tenant.
    pub name: ContainerName,
    /// Podman's identifier, once known.
    pub engine_id: Option<EngineId>,
    /// Where in its life it is.
    pub state: State,
    /// The reference it was made from.
    pub image: String,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// A port of a container on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublishedPort {
    /// On the host.
    pub host: u16,
    /// Inside.
    pub container: u16,
}

/// What a new row says.
pub struct Reservation<'a> {
    /// Name within the tenant.
    pub name: &'a ContainerName,
    /// The reference asked for, resolved.
    pub image: &'a str,
    /// Podman's id of that image.
    pub image_id: &'a str,
    /// Who asks.
    pub created_by: &'a str,
    /// Ports to hold on the host.
    pub ports: &'a [PublishedPort],
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    tenant_id: String,
    slug: String,
    name: String,
    engine_id: Option<String>,
    state: String,
    image: String,
    created_ms: i64,
}

impl Store {
    /// Takes the name and the ports in one transaction. `Conflict` if one of them is taken.
    pub async fn reserve_container(&self, tenant: &Tenant, wanted: &Reservation<'_>) -> Result<Container> {
        let id = (self.world.new_id)();
        let created_ms = self.world.now_ms();
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO containers (id, tenant_id, name, state, image, image_id, created_by, created_ms)
             VALUES ($1, $2, $3, 'creating', $4, $5, $6, $7)",
        )
        .bind(&id)
        .bind(&tenant.id)
        .bind(wanted.name.as_str())
        .bind(wanted.image)
        .bind(wanted.image_id)
        .bind(wanted.created_by)
        .bind(created_ms)
        .execute(&mut *tx)
        .await
        .map_err(|error| {
            if is_duplicate(&error) { Error::new(Kind::Conflict, "the name is in use") } else { error.into() }
        })?;
        for port in wanted.ports {
            sqlx::query("INSERT INTO container_ports (host_port, container_id, container_port) VALUES ($1, $2, $3)")
                .bind(i64::from(port.host))
                .bind(&id)
                .bind(i64::from(port.container))
                .execute(&mut *tx)
                .await
                .map_err(|error| {
                    if is_duplicate(&error) {
                        Error::new(Kind::Conflict, format!("host port {} is taken", port.host))
                    } else {
                        error.into()
                    }
                })?;
        }
        tx.commit().await?;
        Ok(Container {
            id,
            tenant: tenant.clone(),
            name: wanted.name.clone(),
            engine_id: None,
            state: State::Creating,
            image: wanted.image.to_owned(),
            created_ms,
        })
    }

    /// Notes Podman's id of a container that is being made.
    pub async fn record_engine_id(&self, row: &Container, engine_id: &EngineId) -> Result<()> {
        let done = sqlx::query("UPDATE containers SET engine_id = $1 WHERE id = $2 AND state = 'creating'")
            .bind(engine_id.as_str())
            .bind(&row.id)
            .execute(&self.pool)
            .await?;
        changed(done.rows_affected(), row, "its engine id")
    }

    /// The container is made.
    pub async fn confirm_container(&self, row: &Container) -> Result<()> {
        let done = sqlx::query("UPDATE containers SET state = 'ready' WHERE id = $1 AND state = 'creating'")
            .bind(&row.id)
            .execute(&self.pool)
            .await?;
        changed(done.rows_affected(), row, "its confirmation")
    }

    /// The container is to go. True whatever state it was in.
    pub async fn mark_removing(&self, row: &Container) -> Result<()> {
        sqlx::query("UPDATE containers SET state = 'removing' WHERE id = $1").bind(&row.id).execute(&self.pool).await?;
        Ok(())
    }

    /// The container is gone: frees its name and its ports.
    pub async fn forget_container(&self, row: &Container) -> Result<()> {
        sqlx::query("DELETE FROM containers WHERE id = $1").bind(&row.id).execute(&self.pool).await?;
        Ok(())
    }

    /// What the tenant calls by this text: its own name first, else an exact short or full id of its own.
    ///
    /// Containers that are half made do not exist yet.
    pub async fn container(&self, tenant: &Tenant, name_or_id: &str) -> Result<Option<Container>> {
        let is_id = matches!(name_or_id.len(), 12 | 64) && name_or_id.bytes().all(|b| b.is_ascii_hexdigit());
        let row: Option<Row> = sqlx::query_as(
            "SELECT c.id, c.tenant_id, t.slug, c.name, c.engine_id, c.state, c.image, c.created_ms
             FROM containers c JOIN tenants t ON t.id = c.tenant_id
             WHERE c.tenant_id = $1 AND c.state <> 'creating'
               AND (c.name = $2 OR ($3 AND substr(c.engine_id, 1, length($2)) = $2))
             ORDER BY c.name = $2 DESC LIMIT 1",
        )
        .bind(&tenant.id)
        .bind(name_or_id)
        .bind(is_id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(Row::into_container).transpose()
    }

    /// The tenant's containers, oldest first, without those that are half made.
    pub async fn containers(&self, tenant: &Tenant) -> Result<Vec<Container>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT c.id, c.tenant_id, t.slug, c.name, c.engine_id, c.state, c.image, c.created_ms
             FROM containers c JOIN tenants t ON t.id = c.tenant_id
             WHERE c.tenant_id = $1 AND c.state <> 'creating' ORDER BY c.created_ms, c.id",
        )
        .bind(&tenant.id)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::into_container).collect()
    }

    /// The ports of one of the tenant's containers, by our id.
    pub async fn published_ports(&self, tenant: &Tenant, id: &str) -> Result<Vec<PublishedPort>> {
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT p.host_port, p.container_port
             FROM container_ports p JOIN containers c ON c.id = p.container_id
             WHERE c.tenant_id = $1 AND c.id = $2 ORDER BY p.host_port",
        )
        .bind(&tenant.id)
        .bind(id)
        .fetch_all(&self.pool)
        .await?;
        let port = |number: i64| u16::try_from(number).map_err(Error::internal);
        rows.into_iter()
            .map(|(host, inside)| Ok(PublishedPort { host: port(host)?, container: port(inside)? }))
            .collect()
    }

    /// Every tenant's rows that are on their way in or out: what a crash may have left.
    pub async fn unsettled_containers(&self) -> Result<Vec<Container>> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT c.id, c.tenant_id, t.slug, c.name, c.engine_id, c.state, c.image, c.created_ms
             FROM containers c JOIN tenants t ON t.id = c.tenant_id
             WHERE c.state <> 'ready' ORDER BY c.created_ms, c.id",
        )
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::into_container).collect()
    }

    /// Whether any tenant's row has this identifier of ours.
    pub async fn has_container(&self, id: &str) -> Result<bool> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM containers WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        Ok(found.is_some())
    }
}

impl Row {
    fn into_container(self) -> Result<Container> {
        Ok(Container {
            tenant: Tenant { id: self.tenant_id, slug: TenantSlug::parse(&self.slug).map_err(Error::internal)? },
            name: ContainerName::parse(&self.name).map_err(Error::internal)?,
            engine_id: self.engine_id.as_deref().map(EngineId::parse).transpose().map_err(Error::internal)?,
            state: match self.state.as_str() {
                "creating" => State::Creating,
                "ready" => State::Ready,
                "removing" => State::Removing,
                other => return Err(Error::internal(format!("container {} is {other}", self.id))),
            },
            id: self.id,
            image: self.image,
            created_ms: self.created_ms,
        })
    }
}

fn changed(rows: u64, row: &Container, what: &str) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::internal(format!("container {} changed before {what}", row.id))) }
}
