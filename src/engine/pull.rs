//! Pulling images.

use std::time::Duration;

use futures_util::StreamExt;
use podman_api::opts::{PullOpts, PullPolicy};

use super::workers::Place;
use super::{Deadline, Engine, failure};
use crate::domain::{Error, Kind, Result};
use crate::policy::grant::{Audited, ImageGrant};

/// How far a pull is. What Podman writes of it names mirrors and addresses, and stays here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// What happens now.
    pub step: PullStep,
    /// Layers that were begun.
    pub layers: u32,
}

/// What a pull does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PullStep {
    /// Others are pulled first.
    #[default]
    Waiting,
    /// The registry is asked for it.
    Resolving,
    /// Layers come.
    Copying,
    /// The image is put together.
    Storing,
}

impl PullProgress {
    /// What one line of Podman's tells.
    fn hear(&mut self, line: &str) {
        if line.starts_with("Copying blob") {
            (self.step, self.layers) = (PullStep::Copying, self.layers + 1);
        } else if line.starts_with("Copying config") || line.starts_with("Writing manifest") {
            self.step = PullStep::Storing;
        }
    }
}

impl Engine {
    /// Waits for one of the places in which pulls run.
    pub async fn pull_turn(&self, grant: &Audited<ImageGrant>) -> Result<Place> {
        self.pulls.enter(&grant.tenant().id).await
    }

    /// Pulls the image, whether the host has it or not, and tells how far it is.
    ///
    /// One failure for whatever went wrong: the difference would make pulls a scanner of the host's network (SECURITY
    /// rule 23).
    pub async fn pull(&self, grant: &Audited<ImageGrant>, _turn: Place, tell: impl Fn(PullProgress)) -> Result<()> {
        let mut progress = PullProgress { step: PullStep::Resolving, layers: 0 };
        tell(progress);
        let opts = PullOpts::builder().reference(grant.reference().as_str()).policy(PullPolicy::Always).build();
        let images = self.podman.images();
        let pull = async {
            let mut said = images.pull(&opts);
            while let Some(report) = said.next().await {
                let report = report.map_err(failure::of_client)?;
                if let Some(error) = report.error.filter(|error| !error.is_empty()) {
                    return Err(Error::internal(error));
                }
                progress.hear(report.stream.as_deref().unwrap_or_default());
                tell(progress);
            }
            Ok(())
        };
        let patience: Duration = self.pull_patience;
        let pulled = Deadline::after(patience).bound(self.timed("POST images/pull", pull)).await;
        self.images.forget().await;
        pulled.map_err(|error| match error.kind {
            Kind::EngineDown => error,
            _ => {
                let cause = error.cause.unwrap_or_else(|| error.message.into_owned());
                tracing::warn!(image = %grant.reference(), cause, "an image could not be pulled");
                not_pulled()
            }
        })
    }
}

/// The one answer of a pull that failed.
pub fn not_pulled() -> Error {
    Error::new(Kind::NotFound, "the image could not be pulled; its name, its registry or the way there may be wrong")
}
