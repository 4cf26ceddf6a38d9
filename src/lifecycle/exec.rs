//! Running a command, with the container in use meanwhile.

use super::Lifecycle;
use crate::domain::Result;
use crate::engine::{ExecRequest, Execution};
use crate::policy::grant::{Audited, ContainerGrant};

impl Lifecycle {
    /// Runs a command to its end.
    pub async fn exec(&self, grant: &Audited<ContainerGrant>, request: &ExecRequest) -> Result<Execution> {
        let _in_use = self.use_until_dropped(grant);
        self.engine.exec(grant, request, self.engine.deadline()).await
    }
}
