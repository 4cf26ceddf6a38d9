//! The ledger of containers: the authority on ownership.

use super::{Store, Volume};
use crate::domain::{
    ContainerName, EngineId, Error, EventKind, Labels, PublishedPort, Resource, Result, Tenant, TenantSlug,
};

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

impl State {
    pub(super) fn parse(text: &str) -> Result<Self> {
        match text {
            "creating" => Ok(Self::Creating),
            "ready" => Ok(Self::Ready),
            "removing" => Ok(Self::Removing),
            other => Err(Error::internal(format!("a row of the ledger is {other}"))),
        }
    }
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
    /// The profile it was made under.
    pub profile: String,
    /// What it was promised.
    pub promised: Promised,
    /// Whether it holds a place among the tenant's running ones.
    pub running: bool,
    /// When it goes by itself, milliseconds since 1970.
    pub expires_ms: Option<i64>,
    /// How many seconds after its last use it goes by itself.
    pub idle_seconds: Option<i64>,
    /// When it was last used, milliseconds since 1970.
    pub touched_ms: i64,
    /// The version of the agent that it was made with; 0 without.
    pub agent: i64,
    /// Whether its standard input is ended at each start: it was made without.
    pub ends_stdin: bool,
    /// Its tenant's.
    pub labels: Labels,
    /// Milliseconds since 1970.
    pub created_ms: i64,
}

/// What a container holds of its tenant's quotas while it exists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Promised {
    /// Bytes.
    pub memory_bytes: i64,
    /// Thousandths of a CPU.
    pub cpu_millis: i64,
    /// Processes.
    pub pids: i64,
}

impl Promised {
    /// With the place of the container itself.
    pub(super) fn amounts(self) -> [(Resource, i64); 4] {
        [
            (Resource::Containers, 1),
            (Resource::Memory, self.memory_bytes),
            (Resource::CpuMillis, self.cpu_millis),
            (Resource::Pids, self.pids),
        ]
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: String,
    tenant_id: String,
    slug: String,
    name: String,
    engine_id: Option<String>,
    state: String,
    image: String,
    profile: String,
    #[sqlx(flatten)]
    promised: Promised,
    running: i64,
    expires_ms: Option<i64>,
    idle_seconds: Option<i64>,
    touched_ms: i64,
    agent: i64,
    ends_stdin: i64,
    labels: String,
    created_ms: i64,
}

/// Rows of the ledger with their tenants' names.
macro_rules! select_containers {
    ($rest:literal) => {
        concat!(
            "SELECT c.id, c.tenant_id, t.slug, c.name, c.engine_id, c.state, c.image, c.created_ms, c.profile,
                    c.memory_bytes, c.cpu_millis, c.pids, c.running, c.expires_ms, c.idle_seconds, c.touched_ms,
                    c.agent, c.ends_stdin, c.labels
             FROM containers c JOIN tenants t ON t.id = c.tenant_id ",
            $rest
        )
    };
}
pub(super) use select_containers;

impl Store {
    /// Notes Podman's id of a container that is being made.
    pub async fn record_engine_id(&self, row: &Container, engine_id: &EngineId) -> Result<()> {
        let done = sqlx::query("UPDATE containers SET engine_id = $1 WHERE id = $2 AND state = 'creating'")
            .bind(engine_id.as_str())
            .bind(&row.id)
            .execute(&self.pool)
            .await?;
        changed(done.rows_affected(), row, "its engine id")
    }

    /// The container is made, and runs if it was to.
    pub async fn confirm_container(&self, row: &Container, engine_id: &EngineId, started: bool) -> Result<()> {
        let mut tx = self.begin().await?;
        let done = sqlx::query("UPDATE containers SET state = 'ready' WHERE id = $1 AND state = 'creating'")
            .bind(&row.id)
            .execute(&mut *tx)
            .await?;
        changed(done.rows_affected(), row, "its confirmation")?;
        self.note(&mut tx, row, Some(engine_id), EventKind::Created, None).await?;
        if started {
            self.note(&mut tx, row, Some(engine_id), EventKind::Started, None).await?;
        }
        tx.commit().await?;
        self.noted.notify_one();
        Ok(())
    }

    /// The container is to go. True whatever state it was in.
    pub async fn mark_removing(&self, row: &Container) -> Result<()> {
        sqlx::query("UPDATE containers SET state = 'removing', gateway = $2 WHERE id = $1")
            .bind(&row.id)
            .bind(&*self.gateway)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// The container is gone: frees its name, its ports and what it held of the quotas. Fine if it is forgotten.
    pub async fn forget_container(&self, row: &Container) -> Result<()> {
        let mut tx = self.begin().await?;
        let deleted: Option<(i64, i64, String)> =
            sqlx::query_as("DELETE FROM containers WHERE id = $1 RETURNING running, stored_bytes, state")
                .bind(&row.id)
                .fetch_optional(&mut *tx)
                .await?;
        if let Some((running, stored, state)) = deleted {
            // Of one that was never made nobody has heard.
            if State::parse(&state)? != State::Creating {
                self.note(&mut tx, row, row.engine_id.as_ref(), EventKind::Removed, None).await?;
            }
            for (resource, amount) in row.promised.amounts() {
                self.give_back(&mut tx, &row.tenant.id, resource, amount).await?;
            }
            self.give_back(&mut tx, &row.tenant.id, Resource::Running, running).await?;
            self.give_back(&mut tx, &row.tenant.id, Resource::StoredBytes, stored).await?;
        }
        tx.commit().await?;
        self.noted.notify_one();
        Ok(())
    }

    /// What the tenant calls by this text: its own name first, else an exact short or full id of its own.
    ///
    /// Containers that are half made do not exist yet.
    pub async fn container(&self, tenant: &Tenant, name_or_id: &str) -> Result<Option<Container>> {
        let is_id = matches!(name_or_id.len(), 12 | 64) && name_or_id.bytes().all(|b| b.is_ascii_hexdigit());
        let row: Option<Row> = sqlx::query_as(select_containers!(
            "WHERE c.tenant_id = $1 AND c.state <> 'creating'
               AND (c.name = $2 OR ($3 AND substr(c.engine_id, 1, length($2)) = $2))
             ORDER BY c.name = $2 DESC LIMIT 1"
        ))
        .bind(&tenant.id)
        .bind(name_or_id)
        .bind(is_id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(Row::into_container).transpose()
    }

    /// The tenant's containers, oldest first, without those that are half made.
    pub async fn containers(&self, tenant: &Tenant) -> Result<Vec<Container>> {
        let rows: Vec<Row> = sqlx::query_as(select_containers!(
            "WHERE c.tenant_id = $1 AND c.state <> 'creating' ORDER BY c.created_ms, c.id"
        ))
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

    /// All of a tenant's rows, whatever their state.
    pub async fn all_containers(&self, tenant: &Tenant) -> Result<Vec<Container>> {
        let rows: Vec<Row> = sqlx::query_as(select_containers!("WHERE c.tenant_id = $1 ORDER BY c.created_ms, c.id"))
            .bind(&tenant.id)
            .fetch_all(&self.pool)
            .await?;
        rows.into_iter().map(Row::into_container).collect()
    }

    /// Every tenant's rows that are on their way in or out, but for those that another living gateway is about: what a
    /// crash may have left.
    pub async fn unsettled_containers(&self) -> Result<Vec<Container>> {
        let rows: Vec<Row> = sqlx::query_as(select_containers!(
            "WHERE c.state <> 'ready'
               AND c.gateway NOT IN (SELECT id FROM gateways WHERE id <> $1 AND seen_ms > $2)
             ORDER BY c.created_ms, c.id"
        ))
        .bind(&*self.gateway)
        .bind(self.living_since(&self.pool).await?)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::into_container).collect()
    }

    /// The row of this identifier, if it is still on its way in or out.
    pub async fn unsettled_container(&self, id: &str) -> Result<Option<Container>> {
        let row: Option<Row> = sqlx::query_as(select_containers!("WHERE c.id = $1 AND c.state <> 'ready'"))
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(Row::into_container).transpose()
    }

    /// The tenant's container of this identifier of ours, whatever its state.
    pub async fn container_by_id(&self, tenant: &Tenant, id: &str) -> Result<Option<Container>> {
        let row: Option<Row> = sqlx::query_as(select_containers!("WHERE c.tenant_id = $1 AND c.id = $2"))
            .bind(&tenant.id)
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        row.map(Row::into_container).transpose()
    }

    /// The next settled containers of all tenants after our identifier `cursor`.
    pub async fn containers_after(&self, cursor: &str, limit: u32) -> Result<Vec<Container>> {
        let rows: Vec<Row> =
            sqlx::query_as(select_containers!("WHERE c.state = 'ready' AND c.id > $1 ORDER BY c.id LIMIT $2"))
                .bind(cursor)
                .bind(i64::from(limit))
                .fetch_all(&self.pool)
                .await?;
        rows.into_iter().map(Row::into_container).collect()
    }

    /// Whoever has settled containers, by our identifier.
    pub async fn tenants_with_containers(&self) -> Result<Vec<String>> {
        let tenants = sqlx::query_scalar("SELECT DISTINCT tenant_id FROM containers WHERE state = 'ready'");
        Ok(tenants.fetch_all(&self.pool).await?)
    }

    /// The tenant's next settled container after our identifier `cursor`.
    pub async fn next_container(&self, tenant_id: &str, cursor: &str) -> Result<Option<Container>> {
        let row: Option<Row> = sqlx::query_as(select_containers!(
            "WHERE c.state = 'ready' AND c.tenant_id = $1 AND c.id > $2 ORDER BY c.id LIMIT 1"
        ))
        .bind(tenant_id)
        .bind(cursor)
        .fetch_optional(&self.pool)
        .await?;
        row.map(Row::into_container).transpose()
    }

    /// The settled container that Podman calls so, whosever it is.
    pub async fn container_by_engine_id(&self, id: &EngineId) -> Result<Option<Container>> {
        let row: Option<Row> = sqlx::query_as(select_containers!("WHERE c.state = 'ready' AND c.engine_id = $1"))
            .bind(id.as_str())
            .fetch_optional(&self.pool)
            .await?;
        row.map(Row::into_container).transpose()
    }

    /// Running containers that have the volume.
    pub async fn running_with(&self, volume: &Volume) -> Result<Vec<Container>> {
        let rows: Vec<Row> = sqlx::query_as(select_containers!(
            "JOIN container_volumes m ON m.container_id = c.id WHERE m.volume_id = $1 AND c.running = 1 AND c.state = 'ready'"
        ))
        .bind(&volume.id)
        .fetch_all(&self.pool)
        .await?;
        rows.into_iter().map(Row::into_container).collect()
    }

    /// Whether any row, however it is, is of this container.
    pub async fn knows_container(&self, id: &EngineId) -> Result<bool> {
        let found = sqlx::query_scalar("SELECT 1 FROM containers WHERE engine_id = $1").bind(id.as_str());
        let found: Option<i64> = found.fetch_optional(&self.pool).await?;
        Ok(found.is_some())
    }

    /// Whether any tenant's row has this identifier of ours.
    pub async fn has_container(&self, id: &str) -> Result<bool> {
        let found: Option<i64> =
            sqlx::query_scalar("SELECT 1 FROM containers WHERE id = $1").bind(id).fetch_optional(&self.pool).await?;
        Ok(found.is_some())
    }
}

impl Row {
    pub(super) fn into_container(self) -> Result<Container> {
        Ok(Container {
            tenant: Tenant { id: self.tenant_id, slug: TenantSlug::parse(&self.slug).map_err(Error::internal)? },
            name: ContainerName::parse(&self.name).map_err(Error::internal)?,
            engine_id: self.engine_id.as_deref().map(EngineId::parse).transpose().map_err(Error::internal)?,
            state: State::parse(&self.state)?,
            id: self.id,
            image: self.image,
            profile: self.profile,
            promised: self.promised,
            running: self.running != 0,
            expires_ms: self.expires_ms,
            idle_seconds: self.idle_seconds,
            touched_ms: self.touched_ms,
            agent: self.agent,
            ends_stdin: self.ends_stdin != 0,
            labels: Labels::kept(serde_json::from_str(&self.labels).map_err(Error::internal)?),
            created_ms: self.created_ms,
        })
    }
}

fn changed(rows: u64, row: &Container, what: &str) -> Result<()> {
    if rows == 1 { Ok(()) } else { Err(Error::internal(format!("container {} changed before {what}", row.id))) }
}
