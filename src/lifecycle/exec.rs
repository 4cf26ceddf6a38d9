//! Running a command, with or without a shell in the image.

use super::Lifecycle;
use crate::domain::{CommandLine, ExecUser, Kind, Result};
use crate::engine::{ExecRequest, Execution};
use crate::policy::grant::ContainerGrant;

impl Lifecycle {
    /// Runs a command line. A string goes to `/bin/sh`; where the container has none and the string needs none, its
    /// words run directly.
    pub async fn exec(&self, grant: &ContainerGrant, line: &CommandLine, user: Option<ExecUser>) -> Result<Execution> {
        let deadline = self.engine.deadline();
        let request = |command| ExecRequest { command, user: user.clone(), stdin: None };
        match self.engine.exec(grant, &request(line.for_exec()), deadline).await {
            Err(error) if error.kind == Kind::NoCommand => match line.without_shell() {
                Some(words) => self.engine.exec(grant, &request(words), deadline).await,
                None => Err(error),
            },
            other => other,
        }
    }
}
