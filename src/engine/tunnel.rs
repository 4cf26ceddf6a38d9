//! A connection to a TCP port of a container's own loopback. The agent makes it there, so that neither a published port
//! nor a network is needed.

use bytes::Bytes;
use podgate_agent::protocol::{Order, Report, Stream};

use super::supervised::{Agent, Orders, Reports};
use super::{Deadline, Engine};
use crate::domain::{Error, Kind, Result};
use crate::policy::grant::{Audited, ContainerGrant};

/// Both directions. Dropping it ends the connection inside.
pub struct Tunnel {
    orders: Orders,
    reports: Reports,
}

/// What goes in.
pub struct TunnelIn(Orders);

/// What comes out.
pub struct TunnelOut(Reports);

impl Engine {
    /// Connects. `Conflict` where the container does not run, was made without the agent, or nothing listens there.
    pub async fn tunnel(&self, grant: &Audited<ContainerGrant>, port: u16, deadline: Deadline) -> Result<Tunnel> {
        let none = || Error::new(Kind::Conflict, "this container was made without the agent, which a tunnel needs");
        if !self.has_agent(grant) {
            return Err(none());
        }
        let agent = self.start_agent(grant, None, &Order::Connect(port), deadline).await?;
        let Agent { orders, reports, .. } = agent.ok_or_else(none)?;
        Ok(Tunnel { orders, reports })
    }
}

impl Tunnel {
    /// Both ends, to be used side by side: what goes in is taken only while somebody reads what comes out.
    pub fn split(self) -> (TunnelIn, TunnelOut) {
        (TunnelIn(self.orders), TunnelOut(self.reports))
    }
}

impl TunnelIn {
    /// Back once the agent takes it. An error is the end of the connection, of which [`TunnelOut::next`] tells.
    pub async fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.feed(bytes).await
    }

    /// There is no more; what comes out may go on.
    pub async fn end(&mut self) -> std::io::Result<()> {
        self.0.send(&Order::InputEnd).await
    }
}

impl TunnelOut {
    /// What comes next; none once whoever listened there closed, or is gone.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        match self.0.next().await? {
            Some(Report::Output(Stream::Stdout, bytes)) => Ok(Some(bytes.into())),
            Some(_) | None => Ok(None),
        }
    }
}
