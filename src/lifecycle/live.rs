//! What runs in a container and is talked to, with the container in use meanwhile.

use super::{Lifecycle, Use};
use crate::domain::Result;
use crate::engine::{ExecRequest, Live, LiveExec, TerminalRequest};
use crate::policy::grant::{Audited, ContainerGrant};

impl Lifecycle {
    /// Runs a command that is talked to. The container is in use as long as the second is kept.
    pub async fn open_terminal(
        &self,
        grant: &Audited<ContainerGrant>,
        request: &TerminalRequest,
    ) -> Result<(Live, Use)> {
        let live = self.engine.open_terminal(grant, request, self.engine.deadline()).await?;
        Ok((live, self.use_until_dropped(grant)))
    }

    /// Connects to a port inside, in the same way.
    pub async fn open_port(&self, grant: &Audited<ContainerGrant>, port: u16) -> Result<(Live, Use)> {
        let live = self.engine.open_port(grant, port, self.engine.deadline()).await?;
        Ok((live, self.use_until_dropped(grant)))
    }

    /// Runs a command and tells what it says as it comes, in the same way.
    pub async fn open_exec(&self, grant: &Audited<ContainerGrant>, request: &ExecRequest) -> Result<(LiveExec, Use)> {
        let live = self.engine.open_exec(grant, request, self.engine.deadline()).await?;
        Ok((live, self.use_until_dropped(grant)))
    }
}
