//! Running a command, and noting that the container is used.

use super::Lifecycle;
use crate::domain::Result;
use crate::engine::{ExecRequest, Execution};
use crate::policy::grant::{Audited, ContainerGrant};

impl Lifecycle {
    /// Runs a command to its end.
    pub async fn exec(&self, grant: &Audited<ContainerGrant>, request: &ExecRequest) -> Result<Execution> {
        let in_use = self.in_use(&grant.row().id);
        let outcome = self.engine.exec(grant, request, self.engine.deadline()).await;
        // Its end is use as well, noted before the container stops being in use.
        if grant.row().idle_seconds.is_some() {
            self.store.touch_container(grant.row()).await?;
        }
        drop(in_use);
        outcome
    }
}
