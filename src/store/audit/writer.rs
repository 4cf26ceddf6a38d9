//! The one who writes a gateway's chain: a task that takes whatever waits into one transaction.
//!
//! Who waits for an entry does nothing without it. What need not wait (outcomes, and the entries of removals, which need no
//! room) is kept in memory while the store takes nothing, up to a bound, and written later.

use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::chain::{Chain, Intent, Line};
use super::copy::Copy;
use super::entry::Outcome;
use super::record::{Phase, Record, Row};
use crate::domain::{Error, Kind, Result, World};

/// Most rows of one transaction.
const BATCH: usize = 64;
/// Most rows that are kept in memory.
const MOST_KEPT: usize = 10_000;
/// How long outcomes wait for a transaction that somebody else waits for, and what is written for the disk.
const LINGER: Duration = Duration::from_millis(50);
/// Between two attempts to write what is kept.
const RETRY: Duration = Duration::from_secs(1);
/// How long somebody waits for an entry.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a reader waits for outcomes.
const READER_PATIENCE: Duration = Duration::from_secs(1);

/// Where the writer takes its work from. It ends when all clones are gone.
#[derive(Clone)]
pub(super) struct Queue {
    sender: mpsc::UnboundedSender<Job>,
    state: watch::Receiver<AuditState>,
    world: World,
}

/// How writing goes.
#[derive(Debug, Clone, Copy)]
pub struct AuditState {
    /// Whether the log and its copy could be written the last time.
    pub works: bool,
    /// Rows that wait in memory.
    pub kept: usize,
}

enum Job {
    Row(Box<Waiting>),
    Begin(Copy, bool),
    Settle(oneshot::Sender<()>),
    Flush(oneshot::Sender<()>),
}

struct Waiting {
    record: Record,
    /// Where it stands once it is written.
    place: Arc<OnceLock<i64>>,
    /// An outcome's intent.
    intent: Option<Arc<OnceLock<i64>>>,
    /// Who does nothing without it.
    told: Option<oneshot::Sender<()>>,
    may_be_kept: bool,
}

impl Queue {
    /// A queue, and whoever works on it, which is yet to be spawned.
    pub(super) fn new(chain: Chain, world: World) -> (Self, Writer) {
        let (sender, jobs) = mpsc::unbounded_channel();
        let (line, disk) = (Line::default(), Disk { behind_since: None, is_waited_for: false });
        let (state, seen) = watch::channel(AuditState { works: true, kept: 0 });
        let (copy, kept) = (Copy::nowhere(), VecDeque::new());
        let writer = Writer { chain, jobs, copy, kept, fails: false, line, disk, state };
        (Self { sender, state: seen, world }, writer)
    }

    /// How writing goes.
    pub(super) fn state(&self) -> AuditState {
        *self.state.borrow()
    }

    /// Writes a row before something is done; gives its place. `StoreDown` if that cannot be, unless it may be kept.
    pub(super) async fn announce(&self, record: Record, may_be_kept: bool) -> Result<Arc<OnceLock<i64>>> {
        let place = Arc::new(OnceLock::new());
        let (told, hears) = oneshot::channel();
        let record = Record { time_ms: self.world.now_ms(), ..record };
        self.send(Waiting { record, place: Arc::clone(&place), intent: None, told: Some(told), may_be_kept });
        match tokio::time::timeout(PATIENCE, hears).await {
            Ok(Ok(())) => Ok(place),
            // It is in the queue, and comes to be written or kept.
            _ if may_be_kept => Ok(place),
            _ => Err(Error::new(Kind::StoreDown, "the audit log cannot be written; nothing was done")),
        }
    }

    /// Writes how something ended; nobody waits for it.
    pub(super) fn outcome(&self, record: Record, intent: &Arc<OnceLock<i64>>) {
        let record = Record { time_ms: self.world.now_ms(), ..record };
        let intent = Some(Arc::clone(intent));
        self.send(Waiting { record, place: Arc::default(), intent, told: None, may_be_kept: true });
    }

    /// From now on all that is written goes there as well, and is waited for until it is on the disk, or not.
    pub(super) fn begin(&self, copy: Copy, waits_for_disk: bool) {
        let _ = self.sender.send(Job::Begin(copy, waits_for_disk));
    }

    /// Waits until whoever reads the log finds in it what has ended; not long.
    pub(super) async fn settle(&self) {
        let (done, heard) = oneshot::channel();
        if self.sender.send(Job::Settle(done)).is_ok() {
            let _ = tokio::time::timeout(READER_PATIENCE, heard).await;
        }
    }

    /// Waits until what was begun is written, as far as it can be.
    pub(super) async fn flush(&self) {
        let (done, heard) = oneshot::channel();
        if self.sender.send(Job::Flush(done)).is_ok() {
            let _ = tokio::time::timeout(PATIENCE, heard).await;
        }
    }

    fn send(&self, waiting: Waiting) {
        // The writer outlives its queue; without one there is nobody to tell.
        let _ = self.sender.send(Job::Row(Box::new(waiting)));
    }
}

pub(super) struct Writer {
    chain: Chain,
    jobs: mpsc::UnboundedReceiver<Job>,
    copy: Copy,
    kept: VecDeque<Waiting>,
    fails: bool,
    line: Line,
    disk: Disk,
    state: watch::Sender<AuditState>,
}

/// Whether rows are on the disk.
struct Disk {
    /// Since when some may not be.
    behind_since: Option<Instant>,
    /// Whether nobody goes on before they are.
    is_waited_for: bool,
}

impl Disk {
    /// Whether the next transaction has to wait for it.
    fn is_due(&self) -> bool {
        self.is_waited_for || self.behind_since.is_some_and(|since| since.elapsed() >= LINGER)
    }

    fn written(&mut self, on_disk: bool) {
        self.behind_since = if on_disk { None } else { self.behind_since.or_else(|| Some(Instant::now())) };
    }
}

impl Writer {
    /// Writes until nobody is left who could ask for it.
    pub(super) async fn run(mut self) {
        while let Some(batch) = self.next_batch().await {
            self.write(batch).await;
            if !self.fails {
                self.write_kept().await;
            }
        }
        self.finish().await;
    }

    /// What has come so far. Outcomes alone wait a little, so that those who ask one thing after the other do not wait
    /// for two transactions each time; none when nobody is left.
    async fn next_batch(&mut self) -> Option<Vec<Waiting>> {
        let mut batch: Vec<Waiting> = Vec::new();
        loop {
            self.state.send_replace(AuditState { works: !self.fails && self.copy.works(), kept: self.kept.len() });
            let job = match self.jobs.try_recv() {
                Ok(job) => Some(job),
                Err(_) if batch.iter().any(|waiting| waiting.told.is_some()) => return Some(batch),
                Err(_) => match tokio::time::timeout(self.pause(&batch), self.jobs.recv()).await {
                    Ok(job) => job,
                    Err(_) if batch.is_empty() => {
                        self.catch_up().await;
                        continue;
                    }
                    Err(_) => return Some(batch),
                },
            };
            match job {
                None if batch.is_empty() => return None,
                None => return Some(batch),
                Some(Job::Row(waiting)) => batch.push(*waiting),
                Some(Job::Begin(copy, waits_for_disk)) => {
                    self.copy = copy;
                    self.disk.is_waited_for = waits_for_disk;
                }
                Some(Job::Settle(done)) => {
                    self.write(std::mem::take(&mut batch)).await;
                    let _ = done.send(());
                }
                Some(Job::Flush(done)) => {
                    self.write(std::mem::take(&mut batch)).await;
                    self.finish().await;
                    let _ = done.send(());
                }
            }
            if batch.len() >= BATCH {
                return Some(batch);
            }
        }
    }

    /// How long to wait for more.
    fn pause(&self, batch: &[Waiting]) -> Duration {
        if !batch.is_empty() || (self.disk.behind_since.is_some() && !self.fails) {
            return LINGER;
        }
        if self.kept.is_empty() && !self.fails { self.copy.pause().unwrap_or(Duration::MAX) } else { RETRY }
    }

    /// What there is to do while nobody asks for anything.
    async fn catch_up(&mut self) {
        self.write_kept().await;
        self.copy.advance(&self.chain, &[]).await;
        if self.fails || self.disk.behind_since.is_some() {
            match self.chain.reach_disk(&mut self.line).await {
                Ok(()) => {
                    self.disk.written(true);
                    self.recovered();
                }
                Err(error) => self.complain(&error),
            }
        }
    }

    async fn finish(&mut self) {
        self.catch_up().await;
        if self.copy.advance(&self.chain, &[]).await
            && let Err(error) = self.chain.note_copied(self.copy.position()).await
        {
            tracing::warn!(?error, "how far the audit log is copied is not noted");
        }
    }

    /// Writes what has just come.
    async fn write(&mut self, batch: Vec<Waiting>) {
        // An outcome never stands before its intent.
        let is_ready = |waiting: &Waiting| waiting.intent.as_ref().is_none_or(|intent| intent.get().is_some());
        let (mut ready, early): (Vec<Waiting>, Vec<Waiting>) = batch.into_iter().partition(is_ready);
        early.into_iter().for_each(|waiting| self.keep(waiting));
        // Nothing is begun while the copy fails; what failed before may work again.
        if !self.copy.works() && !self.copy.advance(&self.chain, &[]).await {
            ready.retain(|waiting| waiting.may_be_kept);
        }
        if ready.is_empty() {
            return;
        }
        match self.append(&ready).await {
            Ok(rows) => {
                self.recovered();
                let is_copied = self.copy.advance(&self.chain, &rows).await;
                ready.into_iter().zip(&rows).for_each(|(waiting, row)| self.written(waiting, row, is_copied));
            }
            Err(error) => {
                self.complain(&error);
                ready.into_iter().filter(|waiting| waiting.may_be_kept).for_each(|waiting| self.keep(waiting));
            }
        }
    }

    /// Writes what could not be written before, oldest first.
    async fn write_kept(&mut self) {
        while !self.kept.is_empty() {
            let batch: Vec<Waiting> = self.kept.drain(..self.kept.len().min(BATCH)).collect();
            match self.append(&batch).await {
                Ok(rows) => {
                    self.recovered();
                    self.copy.advance(&self.chain, &rows).await;
                    batch.into_iter().zip(&rows).for_each(|(waiting, row)| self.written(waiting, row, true));
                }
                Err(error) => {
                    self.complain(&error);
                    batch.into_iter().rev().for_each(|waiting| self.kept.push_front(waiting));
                    return;
                }
            }
        }
    }

    async fn append(&mut self, batch: &[Waiting]) -> Result<Vec<Row>> {
        let intent = |waiting: &Waiting| {
            let place = waiting.intent.as_ref()?;
            let in_batch = || batch.iter().position(|other| Arc::ptr_eq(&other.place, place)).map(Intent::InBatch);
            place.get().copied().map(Intent::At).or_else(in_batch)
        };
        let records = batch.iter().map(|waiting| (waiting.record.clone(), intent(waiting))).collect();
        let on_disk = self.disk.is_due();
        let appended = self.chain.append(&mut self.line, records, self.copy.position(), on_disk).await;
        if appended.is_ok() {
            self.disk.written(on_disk);
        }
        appended
    }

    fn written(&mut self, waiting: Waiting, row: &Row, is_copied: bool) {
        let _ = waiting.place.set(row.sequence);
        let Some(told) = waiting.told else { return };
        let goes_on = (is_copied && told.send(()).is_ok()) || waiting.may_be_kept;
        // Whoever asked is gone, or hears that it cannot be: nothing follows, and that is said too.
        if !goes_on && waiting.record.phase == Phase::Intent {
            let outcome = Outcome { word: Outcome::ABANDONED.into(), ..Outcome::default() };
            let (time_ms, request_id) = (waiting.record.time_ms, waiting.record.request_id);
            let record = outcome.fill(Record { phase: Phase::Outcome, time_ms, request_id, ..Record::default() });
            let intent = Some(waiting.place);
            self.kept.push_back(Waiting { record, place: Arc::default(), intent, told: None, may_be_kept: true });
        }
    }

    /// Keeps a row until there is room for it. The log has it at once.
    fn keep(&mut self, mut waiting: Waiting) {
        let Record { verb, actor, object_kind, object, outcome, request_id, .. } = &waiting.record;
        let is_kept = self.kept.len() < MOST_KEPT;
        tracing::warn!(
            phase = waiting.record.phase.as_str(),
            verb,
            actor,
            object.kind = object_kind,
            object.name = object,
            outcome,
            request.id = request_id,
            is_kept,
            "a row of the audit log cannot be written now"
        );
        if let Some(told) = waiting.told.take() {
            let _ = told.send(());
        }
        if is_kept {
            self.kept.push_back(waiting);
        }
    }

    /// Says once that it can be written again.
    fn recovered(&mut self) {
        if std::mem::take(&mut self.fails) {
            tracing::info!("the audit log is written again");
        }
    }

    /// Says once that nothing can be written.
    fn complain(&mut self, error: &Error) {
        if !std::mem::replace(&mut self.fails, true) {
            tracing::error!(?error, "the audit log cannot be written; nothing is changed but for removals and stops");
        }
    }
}
