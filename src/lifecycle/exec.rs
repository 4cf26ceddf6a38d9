//! Running a command, with or without a shell in the image.

use super::Lifecycle;
use crate::domain::{CommandLine, ExecUser, Kind, Result};
use crate::engine::{ExecRequest, Execution};
use crate::policy::grant::{Audited, ContainerGrant};

impl Lifecycle {
    /// Runs a command line. A string goes to `/bin/sh`; where the container has none and the string needs none, its
    /// words run directly.
    pub async fn exec(
        &self,
        grant: &Audited<ContainerGrant>,
        line: &CommandLine,
        user: Option<ExecUser>,
    ) -> Result<Execution> {
        let deadline = self.engine.deadline();
        let in_use = self.in_use(&grant.row().id);
        let request = |command| ExecRequest { command, user: user.clone(), stdin: None };
        let outcome = match self.engine.exec(grant, &request(line.for_exec()), deadline).await {
            Err(error) if error.kind == Kind::NoCommand => match line.without_shell() {
                Some(words) => self.engine.exec(grant, &request(words), deadline).await,
                None => Err(error),
            },
            other => other,
        };
        // Its end is use as well, noted before the container stops being in use.
        if grant.row().idle_seconds.is_some() {
            self.store.touch_container(grant.row()).await?;
        }
        drop(in_use);
        outcome
    }
}
