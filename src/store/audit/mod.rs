//! The audit log: who did what. Something is announced before it is done and its outcome noted after; no entry, no
//! mutation. Refusals are rows too.
//!
//! Each gateway has one chain of rows and one task that writes it ([`writer`]); each row carries the hash of the one
//! before ([`record`]). What a principal does is announced by `policy` as it makes a grant, and what changes tenants,
//! accounts or keys asks for the [`Entry`]: code that forgets it does not compile.

mod chain;
mod check;
mod copy;
mod entry;
mod prune;
mod read;
mod record;
mod sink;
mod verify;
mod writer;

use std::sync::Arc;

pub use chain::Head;
pub use check::{Finding, Noted, Report};
pub use entry::{Asker, Course, Entry, Outcome};
pub use read::{AuditCursor, AuditEntry, AuditFilter, Ended};
pub use record::Object;
pub use verify::verify_copy;

use super::Store;
use super::room::Disk;
use crate::config;
use crate::domain::{Principal, Result, Tenant, World};
use chain::Chain;
use copy::Copy;
use entry::about;
use record::{Phase, Record, sentence, text};
pub use writer::AuditState;
use writer::Queue;

/// Where entries go.
#[derive(Clone)]
pub(super) struct Audit {
    queue: Queue,
    chain: Arc<Chain>,
    disk: Disk,
}

/// What the program does by itself, or somebody by its command line.
pub struct Deed<'a> {
    /// `system`, or `cli:` and the name of the operating system's user.
    pub actor: &'a str,
    /// What is done, in the words of the operations.
    pub verb: &'a str,
    /// To what.
    pub object: Object,
    /// Why, if that is not plain.
    pub reason: Option<&'a str>,
    /// The command's words.
    pub argv: &'a [String],
}

impl<'a> Deed<'a> {
    /// What the program does by itself.
    pub fn of_the_system(verb: &'a str, object: Object, reason: Option<&'a str>) -> Self {
        Self { actor: "system", verb, object, reason, argv: &[] }
    }

    fn record(self) -> Record {
        let tenant = self.object.tenant.clone();
        let record = Record {
            actor: Some(text(self.actor, 256)),
            verb: Some(self.verb.to_owned()),
            reason: self.reason.map(sentence),
            argv: Some(self.argv)
                .filter(|argv| !argv.is_empty())
                .map(|argv| record::argv(argv.iter().map(String::as_str))),
            tenant: tenant.as_ref().map(|tenant| tenant.slug.to_string()),
            tenant_id: tenant.map(|tenant| tenant.id),
            ..Record::default()
        };
        about(self.object, record)
    }
}

/// Whether something waits for room in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// Not done without its entry, nor while the disk is full.
    Needed,
    /// It lets somebody in, who may want to remove something: on a full disk it takes from what is kept for removals. Not
    /// done without its entry.
    Kept,
    /// It makes room, or ends something: done all the same, and its entry written when that is possible.
    NotNeeded,
}

impl Audit {
    /// The log of this gateway's chain, with its writer at work.
    pub(super) fn start(
        pool: sqlx::AnyPool,
        is_postgres: bool,
        id: Arc<str>,
        installation: String,
        disk: Disk,
        world: World,
    ) -> Self {
        let chain = Chain { pool, is_postgres, id, installation };
        let (queue, writer) = Queue::new(chain.clone(), world);
        tokio::spawn(writer.run());
        Self { queue, chain: Arc::new(chain), disk }
    }

    /// The disk that is watched.
    pub(super) fn disk(&self) -> Disk {
        self.disk.clone()
    }

    /// `StoreDown` while the disk is full.
    pub(super) fn has_room(&self) -> Result<()> {
        self.disk.has_room()
    }

    async fn announce(&self, record: Record, room: Room) -> Result<Entry> {
        if room == Room::Needed {
            self.has_room()?;
        }
        let request_id = record.request_id.clone();
        let place = self.queue.announce(record, room == Room::NotNeeded).await?;
        Ok(Entry::new(self.queue.clone(), request_id, place))
    }
}

impl Store {
    /// Says what a principal will do, before it is done. `StoreDown` if that cannot be written where room is needed: then
    /// it must not be done.
    pub async fn announce(&self, asker: &Asker, object: Object, room: Room) -> Result<Entry> {
        let entry = self.audit.announce(asker.record(object), room).await?;
        asker.course.began(&entry);
        Ok(entry)
    }

    /// Says what the command line will do.
    pub async fn announce_deed(&self, deed: Deed<'_>, room: Room) -> Result<Entry> {
        self.audit.announce(deed.record(), room).await
    }

    /// Says what the program will do by itself, which is done in any case.
    pub async fn announce_upkeep(&self, deed: Deed<'_>) -> Result<Entry> {
        self.audit.announce(deed.record(), Room::NotNeeded).await
    }

    /// Says that something was asked for and is refused. `StoreDown` if that cannot be written.
    pub async fn note_refusal(
        &self,
        course: &Course,
        principal: Option<&Principal>,
        object: Object,
        outcome: Outcome,
    ) -> Result<()> {
        let tenant: Option<&Tenant> = object.tenant.as_ref().or(principal.and_then(|actor| actor.tenant.as_ref()));
        let record = Record {
            phase: Phase::Refusal,
            actor: Some(principal.map_or_else(|| "anonymous".to_owned(), |actor| actor.login.to_string())),
            actor_id: principal.map(|actor| actor.account_id.clone()),
            key_id: principal.and_then(|actor| actor.key_id.clone()),
            tenant: tenant.map(|tenant| tenant.slug.to_string()),
            tenant_id: tenant.map(|tenant| tenant.id.clone()),
            ..about(object, course.record())
        };
        self.audit.has_room()?;
        self.audit.queue.announce(outcome.fill(record), false).await.map(drop)
    }

    /// Writes the log as the configuration wants it from now on. Fails if its copy cannot be opened.
    pub async fn begin_audit(&self, config: &config::Audit) -> Result<()> {
        let copy = Copy::begin(&self.audit.chain, config.file.clone(), config.stdout).await?;
        self.audit.queue.begin(copy, config.wait_for_disk);
        Ok(())
    }

    /// How writing the log goes.
    pub fn audit_state(&self) -> AuditState {
        self.audit.queue.state()
    }

    /// Whether changes are refused for want of room.
    pub fn is_disk_full(&self) -> bool {
        self.audit.has_room().is_err()
    }

    /// Waits until who reads the log finds in it what has ended on this gateway, if that does not take long.
    pub async fn settle_audit(&self) {
        self.audit.queue.settle().await;
    }

    /// Waits until the audit log has what was begun, as far as it can be written.
    pub async fn flush_audit(&self) {
        self.audit.queue.flush().await;
    }
}
