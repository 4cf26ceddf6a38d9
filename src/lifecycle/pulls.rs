//! Getting an image onto the host: one pull of a reference at a time, for whoever waits for it.
//!
//! Pulls wait for their turn by tenant, so that nobody stands behind another's; from when one runs, everybody who wants
//! its image joins it.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::Lifecycle;
use super::rows::lock;
use crate::domain::{Error, ImageRef, Kind, PullPolicy, Result};
use crate::engine::{Deadline, Image, PullProgress, no_room, not_pulled};
use crate::policy::grant::{Audited, ImageGrant};
use crate::store::Outcome;

/// Most pulls of one tenant that wait for their turn.
const MOST_WAITING: usize = 16;

/// How far a pull is, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// It goes on.
    Running(PullProgress),
    /// The host has the image.
    Done,
    /// It does not, for a reason that the log tells.
    Failed,
    /// Podman went away, or the gateway ends.
    Lost,
    /// Podman's host has no room for it.
    Full,
}

impl Pull {
    /// Why there is no image, where there is none.
    pub fn failure(self) -> Option<Error> {
        match self {
            Self::Running(_) | Self::Done => None,
            Self::Failed => Some(not_pulled()),
            Self::Lost => {
                Some(Error::new(Kind::EngineDown, "Podman went out of reach, or the gateway ends; try again"))
            }
            Self::Full => Some(no_room()),
        }
    }
}

type Told = watch::Receiver<Pull>;

/// Pulls that there are.
#[derive(Clone, Default)]
pub(super) struct Pulls(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// One began to run.
    began: Notify,
    ending: CancellationToken,
}

#[derive(Default)]
struct State {
    waiting: HashMap<(String, ImageRef), Told>,
    running: HashMap<ImageRef, Told>,
}

impl Pulls {
    /// Ends them all.
    pub(super) fn end(&self) {
        self.0.ending.cancel();
    }

    fn running(&self, reference: &ImageRef) -> Option<Told> {
        lock(&self.0.state).running.get(reference).cloned()
    }

    /// From now on it runs, unless another one of its image does: that one.
    fn begin(&self, reference: &ImageRef, told: &Told) -> Result<Running, Told> {
        let mut state = lock(&self.0.state);
        if let Some(other) = state.running.get(reference) {
            return Err(other.clone());
        }
        state.running.insert(reference.clone(), told.clone());
        self.0.began.notify_waiters();
        Ok(Running { pulls: self.clone(), reference: reference.clone() })
    }
}

impl Lifecycle {
    /// Pulls the image, or joins a pull of it: one that runs, or the tenant's own that waits. The receiver's last value is
    /// how it ended; a slow reader misses steps, not the end. `RateLimited` where too many of the tenant's wait.
    pub fn pull(&self, grant: &Audited<ImageGrant>) -> Result<watch::Receiver<Pull>> {
        let key = (grant.tenant().id.clone(), grant.reference().clone());
        let mut state = lock(&self.pulls.0.state);
        if let Some(joined) = state.running.get(&key.1).or_else(|| state.waiting.get(&key)) {
            return Ok(joined.clone());
        }
        if state.waiting.keys().filter(|(tenant, _)| *tenant == key.0).count() >= MOST_WAITING {
            return Err(Error::new(Kind::RateLimited(10), "too many pulls of this tenant wait for their turn"));
        }
        let (tell, told) = watch::channel(Pull::Running(PullProgress::default()));
        state.waiting.insert(key.clone(), told.clone());
        drop(state);
        let waiting = Waiting { pulls: self.pulls.clone(), key };
        let (this, grant, ours) = (self.clone(), grant.clone(), told.clone());
        self.tasks.spawn(async move {
            let outcome = tokio::select! {
                outcome = this.pull_in_turn(&grant, waiting, &tell, &ours) => outcome,
                () = this.pulls.0.ending.cancelled() => Err(Error::new(Kind::EngineDown, "the gateway ends")),
            };
            grant.entry().note(Outcome::of(&outcome));
            tell.send_modify(|pull| {
                *pull = match outcome {
                    Ok(()) => Pull::Done,
                    Err(error) if error.kind == Kind::EngineDown => Pull::Lost,
                    Err(error) if error.kind == Kind::HostFull => Pull::Full,
                    Err(_) => Pull::Failed,
                }
            });
        });
        Ok(told)
    }

    async fn pull_in_turn(
        &self,
        grant: &Audited<ImageGrant>,
        waiting: Waiting,
        tell: &watch::Sender<Pull>,
        told: &Told,
    ) -> Result<()> {
        let mut turn = pin!(self.engine.pull_turn(grant));
        let (turn, _running) = loop {
            let mut began = pin!(self.pulls.0.began.notified());
            began.as_mut().enable();
            if let Some(other) = self.pulls.running(grant.reference()) {
                return follow(other, tell).await;
            }
            tokio::select! {
                turn = &mut turn => match self.pulls.begin(grant.reference(), told) {
                    Ok(running) => break (turn?, running),
                    Err(other) => return follow(other, tell).await,
                },
                () = began => {}
            }
        };
        drop(waiting);
        self.engine.check_room(grant).await?;
        self.engine.pull(grant, turn, |progress| tell.send_modify(|pull| *pull = Pull::Running(progress))).await
    }

    /// The image as the host has it, once the policy is done with. `NotFound` if it cannot be had, `EngineTimeout` if
    /// its pull takes longer than the deadline; the pull goes on then.
    pub(super) async fn obtain(
        &self,
        grant: &Audited<ImageGrant>,
        policy: PullPolicy,
        deadline: Deadline,
    ) -> Result<Image> {
        let on_host = async || self.engine.image(grant, deadline).await;
        match policy {
            PullPolicy::Never => return on_host().await,
            PullPolicy::Missing => match on_host().await {
                Err(error) if error.kind == Kind::NotFound => {}
                other => return other,
            },
            PullPolicy::Always => {}
        }
        let mut told = self.pull(grant)?;
        let end = told.wait_for(|pull| !matches!(pull, Pull::Running(_)));
        match deadline.or_none(end).await.map(|end| end.map_or(Pull::Failed, |end| *end)) {
            Some(end) => match end.failure() {
                Some(error) => Err(error),
                None => on_host().await,
            },
            None => Err(Error::new(Kind::EngineTimeout, "the image is being pulled; try again later")),
        }
    }
}

/// Tells what another pull of the same image tells, to its end.
async fn follow(mut other: Told, tell: &watch::Sender<Pull>) -> Result<()> {
    loop {
        let now = *other.borrow_and_update();
        match now {
            Pull::Running(_) => tell.send_modify(|pull| *pull = now),
            Pull::Done | Pull::Failed | Pull::Lost | Pull::Full => return now.failure().map_or(Ok(()), Err),
        }
        if other.changed().await.is_err() {
            return Err(not_pulled());
        }
    }
}

/// Takes a pull off the list of those that wait, however that ends.
struct Waiting {
    pulls: Pulls,
    key: (String, ImageRef),
}

impl Drop for Waiting {
    fn drop(&mut self) {
        lock(&self.pulls.0.state).waiting.remove(&self.key);
    }
}

/// Takes a pull off the list of those that run, however it ends.
struct Running {
    pulls: Pulls,
    reference: ImageRef,
}

impl Drop for Running {
    fn drop(&mut self) {
        lock(&self.pulls.0.state).running.remove(&self.reference);
    }
}
