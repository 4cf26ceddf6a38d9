//! Who is at the other end of the wire.

use std::net::{IpAddr, SocketAddr};

use poem::{Addr, Request};

use crate::api::caller::Peer;
use crate::config::Network;

/// `X-Forwarded-For` is read from the right, past every proxy that we trust: what stands left of that anybody may have
/// written (SECURITY rule 20).
pub fn peer(request: &Request, trusted: &[Network]) -> Peer {
    let connected = match &request.remote_addr().0 {
        Addr::SocketAddr(SocketAddr::V4(address)) => IpAddr::V4(*address.ip()),
        Addr::SocketAddr(SocketAddr::V6(address)) => address.ip().to_canonical(),
        _ => IpAddr::from([0, 0, 0, 0]),
    };
    let values = request.headers().get_all("x-forwarded-for").iter();
    let forwarded: Vec<&str> =
        values.filter_map(|value| value.to_str().ok()).flat_map(|text| text.split(',')).collect();
    Peer(vouched_for(connected, &forwarded, trusted))
}

fn vouched_for(connected: IpAddr, forwarded: &[&str], trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.contains(address));
    let mut address = connected;
    for hop in forwarded.iter().rev() {
        if !is_trusted(address) {
            break;
        }
        match address_of(hop.trim()) {
            Some(next) => address = next.to_canonical(),
            None => break,
        }
    }
    address
}

/// Some proxies write the port, too.
fn address_of(hop: &str) -> Option<IpAddr> {
    let with_port = || hop.parse::<SocketAddr>().map(|socket| socket.ip());
    let in_brackets = || hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    hop.parse().or_else(|_| with_port()).ok().or_else(in_brackets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forwarded_headers_are_read_from_the_right() {
        let trusted = [Network::parse("10.0.0.0/8").unwrap()];
        let ask = |connected: &str, forwarded: &[&str]| {
            vouched_for(connected.parse().unwrap(), forwarded, &trusted).to_string()
        };
        assert_eq!(ask("203.0.113.9", &["1.1.1.1"]), "203.0.113.9", "a stranger's word");
        assert_eq!(ask("10.0.0.1", &["1.1.1.1", "198.51.100.7"]), "198.51.100.7");
        assert_eq!(ask("10.0.0.1", &["1.1.1.1", " 198.51.100.7", "10.0.0.2"]), "198.51.100.7");
        assert_eq!(ask("10.0.0.1", &["198.51.100.7:4444"]), "198.51.100.7");
        assert_eq!(ask("10.0.0.1", &["[2001:db8::3]:44"]), "2001:db8::3");
        assert_eq!(ask("10.0.0.1", &["[2001:db8::3]"]), "2001:db8::3");
        assert_eq!(ask("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(ask("10.0.0.1", &["198.51.100.7", "junk"]), "10.0.0.1");
    }
}
