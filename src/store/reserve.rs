//! Reserving: a new container's name, ports and share of the quotas, all or nothing.

use std::ops::RangeInclusive;
use std::time::Duration;

use sqlx::AnyConnection;

use super::containers::{Container, Promised, State};
use super::{Store, is_duplicate};
use crate::domain::{ContainerName, Error, Kind, Labels, PublishedPort, Resource, Result, Tenant, WantedPort};

/// What a new row says.
pub struct Reservation<'a> {
    /// Our identifier, new.
    pub id: &'a str,
    /// Name within the tenant.
    pub name: &'a ContainerName,
    /// The reference asked for, resolved.
    pub image: &'a str,
    /// Podman's id of that image.
    pub image_id: &'a str,
    /// Who asks.
    pub created_by: &'a str,
    /// The profile it is made under.
    pub profile: &'a str,
    /// What it is promised.
    pub promised: Promised,
    /// Ports to hold on the host.
    pub ports: &'a [WantedPort],
    /// Where ports are chosen from.
    pub auto_ports: Vec<RangeInclusive<u16>>,
    /// The tenant's volumes that it has, by our identifier.
    pub volumes: &'a [&'a str],
    /// When it goes by itself.
    pub expires_in: Option<Duration>,
    /// How long after its last use it goes by itself.
    pub idle: Option<Duration>,
    /// The version of the agent that it gets; 0 without.
    pub agent: i64,
    /// Whether its standard input is to be ended at each start.
    pub ends_stdin: bool,
    /// Its tenant's.
    pub labels: &'a Labels,
}

impl Store {
    /// Takes the name, the ports and the tenant's quotas in one transaction. `Conflict` if one of the first is taken,
    /// `Quota` if one of the last does not suffice.
    pub async fn reserve_container(
        &self,
        tenant: &Tenant,
        wanted: &Reservation<'_>,
    ) -> Result<(Container, Vec<PublishedPort>)> {
        let id = wanted.id.to_owned();
        let created_ms = self.world.now_ms();
        let milliseconds = |time: Duration| i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
        let expires_ms = wanted.expires_in.map(|time| created_ms.saturating_add(milliseconds(time)));
        let idle_seconds = wanted.idle.map(|time| milliseconds(time) / 1000);
        let labels = serde_json::to_string(wanted.labels.as_map()).map_err(Error::internal)?;
        let mut tx = self.begin().await?;
        let inserted = sqlx::query(
            "INSERT INTO containers (id, tenant_id, name, state, image, image_id, created_by, created_ms,
                                     profile, memory_bytes, cpu_millis, pids, expires_ms, idle_seconds, touched_ms,
                                     gateway, agent, ends_stdin, labels)
             SELECT $1, id, $3, 'creating', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $7, $14, $15, $16, $17
             FROM tenants WHERE id = $2 AND deleting = 0",
        )
        .bind(&id)
        .bind(&tenant.id)
        .bind(wanted.name.as_str())
        .bind(wanted.image)
        .bind(wanted.image_id)
        .bind(wanted.created_by)
        .bind(created_ms)
        .bind(wanted.profile)
        .bind(wanted.promised.memory_bytes)
        .bind(wanted.promised.cpu_millis)
        .bind(wanted.promised.pids)
        .bind(expires_ms)
        .bind(idle_seconds)
        .bind(&*self.gateway)
        .bind(wanted.agent)
        .bind(i64::from(wanted.ends_stdin))
        .bind(labels)
        .execute(&mut *tx)
        .await
        .map_err(|error| {
            if is_duplicate(&error) { Error::new(Kind::Conflict, "the name is in use") } else { error.into() }
        })?;
        if inserted.rows_affected() == 0 {
            return Err(Error::new(Kind::Conflict, "the tenant is being deleted"));
        }
        self.take(&mut tx, &tenant.id, Resource::StoredBytes, 0).await?;
        for (resource, amount) in wanted.promised.amounts() {
            self.take(&mut tx, &tenant.id, resource, amount).await?;
        }
        for volume in wanted.volumes {
            // Only a volume that is the tenant's and stays; the check and the claim are one statement.
            let held = sqlx::query(
                "INSERT INTO container_volumes (container_id, volume_id)
                 SELECT $1, id FROM volumes WHERE id = $2 AND tenant_id = $3 AND state = 'ready'",
            )
            .bind(&id)
            .bind(volume)
            .bind(&tenant.id)
            .execute(&mut *tx)
            .await?;
            if held.rows_affected() == 0 {
                return Err(Error::new(Kind::Conflict, "a volume is being removed"));
            }
        }
        let mut ports = Vec::new();
        // What was asked for by number first, so that a choice does not take it.
        let (by_number, by_choice): (Vec<&WantedPort>, _) = wanted.ports.iter().partition(|port| port.host.is_some());
        for port in by_number.into_iter().chain(by_choice) {
            let host = match port.host {
                Some(host) => host,
                None => self.free_port(&mut tx, &wanted.auto_ports).await?,
            };
            hold_port(&mut tx, &id, host, port.container).await?;
            ports.push(PublishedPort { host, container: port.container });
        }
        tx.commit().await?;
        let row = Container {
            id,
            tenant: tenant.clone(),
            name: wanted.name.clone(),
            engine_id: None,
            state: State::Creating,
            image: wanted.image.to_owned(),
            profile: wanted.profile.to_owned(),
            promised: wanted.promised,
            running: false,
            expires_ms,
            idle_seconds,
            touched_ms: created_ms,
            agent: wanted.agent,
            ends_stdin: wanted.ends_stdin,
            labels: wanted.labels.clone(),
            created_ms,
        };
        Ok((row, ports))
    }

    /// The lowest port of the ranges that nobody holds and that is not in quarantine. `Conflict` if there is none.
    async fn free_port(&self, conn: &mut AnyConnection, ranges: &[RangeInclusive<u16>]) -> Result<u16> {
        for range in ranges {
            if let Some(free) = self.free_port_in(conn, range).await? {
                return Ok(free);
            }
        }
        Err(Error::new(Kind::Conflict, "no host port is free"))
    }

    async fn free_port_in(&self, conn: &mut AnyConnection, range: &RangeInclusive<u16>) -> Result<Option<u16>> {
        let (first, last) = (i64::from(*range.start()), i64::from(*range.end()));
        let free: Option<i64> = sqlx::query_scalar(
            "WITH taken AS (
                 SELECT host_port FROM container_ports
                 UNION SELECT host_port FROM port_quarantine WHERE until_ms > $3
             ), candidates AS (
                 SELECT $1 AS port UNION SELECT host_port + 1 FROM taken
             )
             SELECT MIN(port) FROM candidates
             WHERE port BETWEEN $1 AND $2 AND port NOT IN (SELECT host_port FROM taken)",
        )
        .bind(first)
        .bind(last)
        .bind(self.world.now_ms())
        .fetch_one(conn)
        .await?;
        free.map(u16::try_from).transpose().map_err(Error::internal)
    }

    /// Keeps a container's ports from being chosen for a while: a start that failed may have left them bound.
    pub async fn quarantine_ports(&self, row: &Container) -> Result<()> {
        sqlx::query(
            "INSERT INTO port_quarantine (host_port, until_ms)
             SELECT host_port, $1 FROM container_ports WHERE container_id = $2
             ON CONFLICT (host_port) DO UPDATE SET until_ms = excluded.until_ms",
        )
        .bind(self.world.now_ms() + QUARANTINE_MS)
        .bind(&row.id)
        .execute(&self.pool)
        .await?;
        Ok(())
    }
}

/// How long a port is not chosen after a start that failed.
const QUARANTINE_MS: i64 = 60_000;

async fn hold_port(conn: &mut AnyConnection, id: &str, host: u16, container: u16) -> Result<()> {
    sqlx::query("INSERT INTO container_ports (host_port, container_id, container_port) VALUES ($1, $2, $3)")
        .bind(i64::from(host))
        .bind(id)
        .bind(i64::from(container))
        .execute(conn)
        .await
        .map_err(|error| match is_duplicate(&error) {
            true => Error::new(Kind::Conflict, format!("host port {host} is taken")),
            false => error.into(),
        })?;
    Ok(())
}
