//! TCP ports inside a container, through the gateway.

use bytes::Bytes;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;

use super::caller::{Caller, Exec as ExecScope};
use super::error::invalid_parameter;
use super::websocket::{Switching, Upgrade};
use super::{Context, Tag};
use crate::domain::Result;
use crate::engine::{Live, LiveInput, LiveOutput, Told};
use crate::policy::Change;
use crate::streams::socket::{Close, Message, Receiver, Sender, Socket};

pub struct Ports(pub Context);

#[OpenApi(tag = "Tag::Inside")]
impl Ports {
    /// Open a tunnel to a port
    ///
    /// A WebSocket that is a TCP connection to a port of the container's own loopback, whatever network it has and
    /// without a published port. Messages are binary and hold what the connection carries, up to 64 KiB each, wherever
    /// they are cut; an empty one ends what the client has to say, and the answer may go on. It closes with 1000 when the
    /// program inside closes. `podgate forward` speaks it.
    #[oai(path = "/containers/:name/ports/:port", method = "get", operation_id = "openTunnel")]
    async fn tunnel(
        &self,
        who: Caller<ExecScope>,
        /// The container's name, or its id of 12 or 64 digits.
        name: Path<String>,
        /// Where a program in the container listens.
        port: Path<String>,
        upgrade: Upgrade,
    ) -> poem::Result<Switching> {
        let port = parse(&port)?;
        let grant = self.0.policy.container(who.principal(), who.scope(), Change, &name).await?;
        let open = self.0.streams.open(who.principal(), who.scope()).await?;
        let (live, in_use) = self.0.lifecycle.open_port(&grant, port).await?;
        Ok(upgrade.serve(open, async move |socket| {
            // The audit log learns of the end with the grant.
            let _kept = (in_use, grant);
            carry(live, socket).await
        }))
    }
}

/// Here and not by the framework, which calls a path's parameters by their number.
fn parse(text: &str) -> Result<u16> {
    let port = text.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == text);
    port.ok_or_else(|| invalid_parameter("port", "must be within 1 and 65535"))
}

/// Until either side ends.
async fn carry(live: Live, socket: Socket) -> Close {
    let Live { mut input, mut output } = live;
    let Socket { sender, mut receiver } = socket;
    tokio::select! {
        close = carry_out(&mut output, &sender) => close,
        close = carry_in(&mut receiver, &mut input) => close,
    }
}

async fn carry_out(output: &mut LiveOutput, sender: &Sender) -> Close {
    loop {
        match output.next().await {
            Ok(Told::Said(_, bytes)) => {
                if sender.send(Message::Binary(bytes)).await.is_err() {
                    return Close::done("");
                }
            }
            Ok(Told::Ended(_)) => return Close::done("the connection inside ended"),
            Err(error) => return error.into(),
        }
    }
}

async fn carry_in(receiver: &mut Receiver, input: &mut LiveInput) -> Close {
    let mut ended = false;
    while let Some(message) = receiver.next().await {
        let written = match message {
            Message::Binary(_) if ended => return Close::refused("nothing follows an empty message"),
            Message::Binary(bytes) if Bytes::is_empty(&bytes) => {
                ended = true;
                input.end().await
            }
            Message::Binary(bytes) => input.write(&bytes).await,
            Message::Text(_) => return Close::refused("send binary messages"),
        };
        if written.is_err() {
            // It is over inside; what comes out says so.
            return std::future::pending().await;
        }
    }
    Close::done("")
}
