//! Creating a container: reserve, make, record, start, confirm.

use std::time::{Duration, Instant};

use super::{Claim, Lifecycle};
use crate::domain::{Attempt, EngineId, Error, Kind, PublishedPort, Result, timestamp_ms};
use crate::engine::{Deadline, Identity, Image, Installer, Status, is_port_taken};
use crate::policy::grant::{Audited, ContainerGrant, CreateGrant};
use crate::store::{Container, Promised, Reservation, State};

/// How long a create waits before each further try at its ports.
const PORT_PAUSES: [Duration; 3] = [Duration::from_millis(100), Duration::from_millis(300), Duration::from_millis(600)];

/// A container that was just made.
#[derive(Debug)]
pub struct CreatedContainer {
    /// Leave to act on it.
    pub grant: Audited<ContainerGrant>,
    /// How it is.
    pub status: Status,
    /// The ports it publishes.
    pub ports: Vec<PublishedPort>,
}

impl Lifecycle {
    /// Makes what was granted, unless an earlier try of this attempt did. On failure nothing is left, or what is left is
    /// marked and taken away later.
    pub async fn create(&self, grant: Audited<CreateGrant>, attempt: Option<Attempt>) -> Result<CreatedContainer> {
        let (this, entry) = (self.clone(), grant.entry().clone());
        self.to_the_end(&entry, async move {
            let made = this.create_with_ports(&grant, attempt.as_ref()).await?;
            // Nobody looked while it was being made.
            this.engine.look_again(made.grant.engine_id());
            Ok(made)
        })
        .await
    }

    /// A port that was chosen may be somebody else's on the host, which only Podman finds out: the next choice is another
    /// one. One that was asked for may be still held by Podman after a start that failed, for a second at most.
    async fn create_with_ports(
        &self,
        grant: &Audited<CreateGrant>,
        attempt: Option<&Attempt>,
    ) -> Result<CreatedContainer> {
        let mut pauses = PORT_PAUSES.into_iter();
        loop {
            match (self.create_steps(grant, attempt).await, pauses.next()) {
                (Err(error), Some(pause)) if is_port_taken(&error) => tokio::time::sleep(pause).await,
                (other, _) => return other,
            }
        }
    }

    async fn create_steps(&self, grant: &Audited<CreateGrant>, attempt: Option<&Attempt>) -> Result<CreatedContainer> {
        let deadline = self.engine.deadline();
        if let Some(made) = self.made_before(grant, attempt, deadline).await? {
            return Ok(made);
        }
        let image = self.obtain(&grant.image(), grant.spec().pull, deadline).await?;
        let limits = grant.spec().limits;
        // Claimed before it is there: nobody else takes it for what a crash left.
        let id = self.store.id_for(attempt);
        let claim = self.claim(&id).ok_or_else(unfinished)?;
        let reservation = Reservation {
            id: &id,
            name: grant.name(),
            image: grant.spec().image.as_str(),
            image_id: &image.id,
            created_by: &grant.principal().account_id,
            profile: &grant.spec().profile,
            promised: Promised { memory_bytes: limits.memory_bytes, cpu_millis: limits.cpu_millis, pids: limits.pids },
            ports: &grant.spec().ports,
            auto_ports: grant.spec().auto_ports.clone(),
            volumes: &grant.spec().volume_ids(),
            expires_in: grant.spec().expires_in,
            idle: grant.spec().idle,
            agent: self.engine.agent_version().map_or(0, i64::from),
            ends_stdin: !grant.spec().stdin,
            labels: &grant.spec().labels,
        };
        let (row, ports) = self.store.reserve_container(grant.tenant(), &reservation).await?;
        grant.entry().identify(&row.id);
        self.fail_point.reached("create.reserved");

        let mut identity = Identity {
            installation: &self.installation,
            row_id: &row.id,
            tenant: grant.tenant(),
            name: grant.name(),
            ports: &ports,
            expires: row.expires_ms.map(timestamp_ms),
            agent: None,
        };
        // The first of all waits for the agent's installation, which is not this operation's time.
        let installer =
            Installer { installation: self.installation.to_string(), gateway: self.store.gateway().to_owned() };
        let begun = Instant::now();
        let agent = self.engine.agent_volume(grant, installer, self.engine.deadline()).await;
        let deadline = deadline.extended(begun.elapsed());
        let make = async {
            identity.agent = agent?;
            // After the row is there: a deletion of the tenant waits for it, and takes the network away last.
            self.engine.ensure_network(grant, &self.installation, deadline).await?;
            self.engine.create(grant, &image, &identity, deadline).await
        };
        let made = make.await;
        self.fail_point.reached("create.created");
        match made {
            Ok(engine_id) => match self.settle(grant, &row, (&engine_id, &image), deadline).await {
                Ok((grant, status)) => Ok(CreatedContainer { grant, status, ports }),
                Err(error) => Err(self.failed(error, (row, Some(engine_id)), grant, claim).await),
            },
            Err(error) => Err(self.failed(error, (row, None), grant, claim).await),
        }
    }

    /// Has what was made so far taken back. A Podman that does not answer is not waited for once more.
    async fn failed(
        &self,
        error: Error,
        (row, engine_id): (Container, Option<EngineId>),
        grant: &Audited<CreateGrant>,
        claim: Claim,
    ) -> Error {
        let (this, grant) = (self.clone(), grant.clone());
        let undo = async move { this.undo(row, engine_id, &grant, claim).await };
        match error.kind {
            Kind::EngineTimeout => drop(self.tasks.spawn(undo)),
            _ => undo.await,
        }
        blame(error)
    }

    /// What an earlier try made, whose caller never heard of it.
    async fn made_before(
        &self,
        grant: &Audited<CreateGrant>,
        attempt: Option<&Attempt>,
        deadline: Deadline,
    ) -> Result<Option<CreatedContainer>> {
        let Some((attempt, id)) = Attempt::earlier(attempt) else { return Ok(None) };
        let Some(row) = self.store.container_by_id(grant.tenant(), id).await? else { return Ok(None) };
        let (State::Ready, Some(engine_id)) = (row.state, row.engine_id.clone()) else { return Err(unfinished()) };
        let made = grant.made(&row, engine_id);
        let status = match self.status(&made, deadline).await {
            Err(error) if matches!(error.kind, Kind::NotFound | Kind::EngineTimeout) => Status::unknown(),
            other => other?,
        };
        let ports = self.store.published_ports(grant.tenant(), &row.id).await?;
        attempt.was_made();
        Ok(Some(CreatedContainer { grant: made, status, ports }))
    }

    /// What follows once Podman has it.
    async fn settle(
        &self,
        grant: &Audited<CreateGrant>,
        row: &Container,
        (engine_id, image): (&EngineId, &Image),
        deadline: Deadline,
    ) -> Result<(Audited<ContainerGrant>, Status)> {
        self.store.record_engine_id(row, engine_id).await?;
        self.fail_point.reached("create.recorded");
        let made = grant.made(row, engine_id.clone());
        if grant.spec().start {
            self.take_running(&made).await?;
            self.engine.start_new(&made, image, &grant.spec().mounts, deadline).await?;
        }
        self.fail_point.reached("create.started");
        let status = self.engine.status(&made, deadline).await?;
        self.store.confirm_container(row, engine_id, grant.spec().start).await?;
        if grant.spec().start && !status.is_running() {
            let row = Container { running: true, engine_id: Some(engine_id.clone()), ..row.clone() };
            self.observe(&row, &status).await?;
        }
        self.fail_point.reached("create.confirmed");
        Ok((made, status))
    }

    /// Takes back what was made so far. What fails here stays marked in the ledger for the reconciler.
    async fn undo(&self, row: Container, engine_id: Option<EngineId>, grant: &Audited<CreateGrant>, _claim: Claim) {
        let deadline = self.engine.deadline();
        let undone = async {
            // Without an answer Podman may still have made it: its label tells.
            let engine_id = match engine_id {
                Some(engine_id) => Some(engine_id),
                None => self.engine.find_made(grant.tenant(), &row.name, &row.id, deadline).await?,
            };
            self.store.quarantine_ports(&row).await?;
            if let Some(engine_id) = engine_id {
                self.engine.remove(&grant.made(&row, engine_id), deadline).await?;
            }
            self.store.forget_container(&row).await
        };
        if let Err(error) = undone.await {
            tracing::warn!(container.row = row.id, ?error, "a failed create is left for the reconciler");
            // From now on its tenant sees what holds its name and its quota.
            if let Err(error) = self.store.mark_removing(&row).await {
                tracing::debug!(container.row = row.id, ?error, "it could not be marked");
            }
            self.unsettled.notify_one();
        }
    }
}

/// What an earlier try left half made is taken back first.
pub(super) fn unfinished() -> Error {
    Error::new(Kind::Unfinished, "what an earlier try of this request left is being taken back; try again")
}

/// At create, a command, user or directory that is not there is the request's fault.
fn blame(error: Error) -> Error {
    match error.kind {
        Kind::NoCommand | Kind::NoPath => Error { kind: Kind::Refused, ..error },
        _ => error,
    }
}
