//! Getting an image onto the host: one pull of a reference at a time, for whoever waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::Lifecycle;
use crate::domain::{Error, ImageRef, Kind, PullPolicy, Result};
use crate::engine::{Deadline, Image, PullProgress, not_pulled};
use crate::policy::grant::{Audited, ImageGrant};
use crate::store::Outcome;

/// How far a pull is, and how it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull {
    /// It goes on.
    Running(PullProgress),
    /// The host has the image.
    Done,
    /// It does not, for a reason that the log tells.
    Failed,
}

/// Pulls that run, by reference.
#[derive(Clone, Default)]
pub(super) struct Pulls(Arc<Mutex<HashMap<ImageRef, watch::Receiver<Pull>>>>);

impl Lifecycle {
    /// Pulls the image, or joins the pull of it that runs, whoever began that. The receiver's last value is how it
    /// ended; a slow reader misses steps, not the end.
    pub fn pull(&self, grant: &Audited<ImageGrant>) -> watch::Receiver<Pull> {
        let mut running = self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(joined) = running.get(grant.reference()) {
            return joined.clone();
        }
        let (tell, told) = watch::channel(Pull::Running(PullProgress::default()));
        running.insert(grant.reference().clone(), told.clone());
        let (this, grant) = (self.clone(), grant.clone());
        self.tasks.spawn(async move {
            let _ended = Ended { pulls: this.pulls.clone(), reference: grant.reference().clone() };
            let outcome =
                this.engine.pull(&grant, |progress| tell.send_modify(|pull| *pull = Pull::Running(progress))).await;
            grant.entry().note(Outcome::of(&outcome));
            tell.send_modify(|pull| *pull = if outcome.is_ok() { Pull::Done } else { Pull::Failed });
        });
        told
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
        let mut told = self.pull(grant);
        let end = told.wait_for(|pull| !matches!(pull, Pull::Running(_)));
        match deadline.or_none(end).await.map(|end| end.is_ok_and(|end| *end == Pull::Done)) {
            Some(true) => on_host().await,
            Some(false) => Err(not_pulled()),
            None => Err(Error::new(Kind::EngineTimeout, "the image is being pulled; try again later")),
        }
    }
}

/// Takes a pull off the list when it ends, however it ends.
struct Ended {
    pulls: Pulls,
    reference: ImageRef,
}

impl Drop for Ended {
    fn drop(&mut self) {
        self.pulls.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.reference);
    }
}
