//! Commands in a container without the agent.
//!
//! Podman cannot end an exec. Where the deadline comes first, the connection is cut, which a command that reads its
//! standard input sees as its end; a command that does not read it goes on until the container's own limits or stop.

use super::exec::{Ended, ExecRequest, Execution, Kept, never_ran};
use super::frames::Output;
use super::hijack::Hijacked;
use super::{Deadline, Engine};
use crate::domain::{Error, Result, Words};
use crate::policy::grant::{Audited, ContainerGrant};

impl Engine {
    /// Runs these words as the request says.
    pub(super) async fn exec_plain(
        &self,
        grant: &Audited<ContainerGrant>,
        request: &ExecRequest,
        words: &Words,
        deadline: Deadline,
    ) -> Result<Execution> {
        // A command may end its container.
        let _touched = self.touching(grant);
        let (session, Hijacked { mut input, mut outputs }) =
            self.start_process(grant, request.process(words), deadline).await?;
        let mut kept = Kept::new(request.max_output);
        // A command that does not read its input has not failed, so nobody waits for the write alone.
        let write = async {
            if input.write(request.stdin.as_deref().unwrap_or_default()).await.is_ok() {
                let _ = input.end().await;
            }
            std::future::pending::<Never>().await
        };
        let read = async {
            while let Some((output, said)) = outputs.next().await? {
                if !kept.take(output, &said) {
                    return Ok::<_, Error>(Some(Ended::TooMuchOutput));
                }
            }
            Ok(None)
        };
        let talk = async {
            tokio::select! {
                finished = read => finished,
                never = write => match never {},
            }
        };
        let cut_short = match Deadline::after(request.timeout).or_none(talk).await {
            Some(Ok(finished)) => finished,
            Some(Err(error)) => return Err(self.broken(grant, error).await),
            None => Some(Ended::TimedOut),
        };
        let ended = match cut_short {
            Some(cut_short) => cut_short,
            None => Ended::Exited(self.exit_code(&session).await?),
        };
        if let Ended::Exited(code) = ended
            && let Some(refusal) = never_ran(code, &kept.said.all(Some(Output::Stderr)))
        {
            return Err(refusal);
        }
        Ok(kept.into_execution(ended, false, 0))
    }
}

enum Never {}
