//! A program in the container that listens on a port of its loopback, whatever the container's network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use podgate_agent::protocol::{Failure, Stage, Stream};
use rustix::io::Errno;

use crate::pipes::{Input, Kind, Output};

/// How long a peer on the same machine may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connects by IPv4, else by IPv6; the error is that of the first.
pub fn connect(port: u16) -> Result<(Input, Output), Failure> {
    let to = |address: IpAddr| TcpStream::connect_timeout(&SocketAddr::new(address, port), PATIENCE);
    let connected = to(Ipv4Addr::LOCALHOST.into()).or_else(|error| to(Ipv6Addr::LOCALHOST.into()).map_err(|_| error));
    let ends = connected.and_then(|stream| {
        stream.set_nodelay(true)?;
        let input = Input::new(OwnedFd::from(stream.try_clone()?), Kind::Socket)?;
        Ok((input, Output::new(OwnedFd::from(stream), Stream::Stdout)?))
    });
    ends.map_err(|error| {
        // A time that passed has no number of its own.
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::TIMEDOUT);
        Failure { stage: Stage::Connect, errno: errno.raw_os_error().unsigned_abs() }
    })
}
