//! The main process of a container, live.

use std::time::Duration;

use futures_util::StreamExt;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;

use super::caller::{Caller, Exec as ExecScope};
use super::framed::{STDIN, framed};
use super::websocket::{Switching, Upgrade};
use super::{Context, Tag};
use crate::domain::Kind;
use crate::engine::{Attached, Engine, Output};
use crate::policy::Change;
use crate::policy::grant::{Audited, ContainerGrant};
use crate::streams::socket::{Close, Message, Receiver, Sender, Socket};

pub struct Attach(pub Context);

/// How long Podman may take to learn how a process ended, and between two questions.
const KNOWN_WITHIN: Duration = Duration::from_secs(5);
const ASK_EVERY: Duration = Duration::from_millis(50);

#[OpenApi(tag = "Tag::Inside")]
impl Attach {
    /// Attach to the main process
    ///
    /// A WebSocket with what the main process writes from now on, and to its standard input, where the container was
    /// made with `stdin`. Messages are binary; the first byte of each says whose bytes follow: 0 standard input, 1
    /// standard output, 2 standard error. It closes with 1000 when the process ends. The process's standard input ends
    /// when somebody who is attached leaves, so to watch only, follow the log.
    #[oai(path = "/containers/:name/attach", method = "get", operation_id = "attachToContainer")]
    async fn attach(
        &self,
        who: Caller<ExecScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        upgrade: Upgrade,
    ) -> poem::Result<Switching> {
        let grant = self.0.policy.container(who.principal(), who.scope(), Change, &name).await?;
        let open = self.0.streams.open(who.principal(), who.scope()).await?;
        let (attached, in_use) = self.0.lifecycle.attach(&grant).await?;
        let engine = self.0.engine.clone();
        Ok(upgrade.serve(open, async move |socket| {
            let _in_use = in_use;
            talk(attached, socket, &engine, &grant).await
        }))
    }
}

/// Until either side ends.
async fn talk(attached: Attached, socket: Socket, engine: &Engine, grant: &Audited<ContainerGrant>) -> Close {
    let (output, mut input) = attached.split();
    let Socket { sender, mut receiver } = socket;
    tokio::select! {
        close = tell(output, &sender, engine, grant) => close,
        close = hear(&mut receiver, &mut input) => close,
    }
}

async fn tell(
    mut output: impl futures_util::Stream<Item = crate::domain::Result<(Output, bytes::Bytes)>> + Unpin,
    sender: &Sender,
    engine: &Engine,
    grant: &Audited<ContainerGrant>,
) -> Close {
    while let Some(piece) = output.next().await {
        let (output, bytes) = match piece {
            Ok(piece) => piece,
            // Where the process goes on, it is the connection that ended.
            Err(error) => {
                return tokio::time::timeout(KNOWN_WITHIN, ending(engine, grant))
                    .await
                    .unwrap_or_else(|_| error.into());
            }
        };
        if sender.send(framed(output, &bytes)).await.is_err() {
            return Close::done("");
        }
    }
    // Where the process goes on, it is the connection that ended.
    let asked = tokio::time::timeout(KNOWN_WITHIN, ending(engine, grant)).await;
    asked.unwrap_or_else(|_| Close::failed("the connection to the main process broke"))
}

/// How the process ended. Podman ends the stream a moment before it knows.
async fn ending(engine: &Engine, grant: &ContainerGrant) -> Close {
    loop {
        match engine.status(grant, engine.deadline()).await.map(|status| (status.is_running(), status.exit_code)) {
            Ok((true, _)) => tokio::time::sleep(ASK_EVERY).await,
            Ok((false, Some(code))) => return Close::done(format!("the main process ended with {code}")),
            Ok((false, None)) => return Close::done("the main process ended"),
            Err(error) => return error.into(),
        }
    }
}

async fn hear(receiver: &mut Receiver, input: &mut crate::engine::Input) -> Close {
    while let Some(message) = receiver.next().await {
        let written = match message {
            Message::Binary(bytes) if bytes.first() == Some(&STDIN) => input.write(&bytes[1..]).await,
            Message::Binary(_) | Message::Text(_) => return Close::refused("send binary messages that begin with 0"),
        };
        match written {
            Ok(()) => {}
            Err(error) if error.kind == Kind::Conflict => {
                return Close::refused("the container was made without stdin");
            }
            // The process is going; its output says how.
            Err(_) => return std::future::pending().await,
        }
    }
    Close::done("")
}
