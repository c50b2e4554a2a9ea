//! Which of a name's addresses is connected to (RFC 8305, "Happy Eyeballs").

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{net::TcpStream, time::sleep};

use crate::failure::local_fault;

/// How long an address goes unrivalled (RFC 8305 §5).
const STAGGER: Duration = Duration::from_millis(250);
/// Addresses of a name that are tried: each costs a descriptor.
const MAX_TRIED: usize = 8;

/// Connects to the first address that accepts; another is tried when one fails or takes long.
pub(super) async fn connect(addrs: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut waiting = in_turn(addrs).into_iter().take(MAX_TRIED);
    let mut running = FuturesUnordered::new();
    let mut failure: Option<io::Error> = None;
    loop {
        if let Some(addr) = waiting.next() {
            running.push(connect_to(SocketAddr::new(addr, port)));
        }
        if running.is_empty() {
            let nowhere = || io::ErrorKind::AddrNotAvailable.into();
            return Err(failure.unwrap_or_else(nowhere));
        }
        tokio::select! {
            Some(result) = running.next() => match result {
                Ok(stream) => return Ok(stream),
                // A failure of ours goes before theirs.
                Err(error) if failure.as_ref().is_none_or(|it| local_fault(it).is_none()) => {
                    failure = Some(error);
                }
                Err(_) => {}
            },
            () = sleep(STAGGER), if waiting.len() > 0 => {}
        }
    }
}

async fn connect_to(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addr).await.map_err(|error| {
        if error.kind() == io::ErrorKind::AddrNotAvailable && !has_source(addr) {
            // No route, rather than no port.
            io::ErrorKind::NetworkUnreachable.into()
        } else {
            error
        }
    })?;
    // Head and body may be two writes.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether this machine has an address to reach another from: connecting a datagram socket chooses
/// one, and sends nothing.
fn has_source(addr: SocketAddr) -> bool {
    let any: IpAddr = match addr {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).is_ok_and(|socket| socket.connect(addr).is_ok())
}

/// The two families in turn, beginning with the first address's (RFC 8305 §4).
fn in_turn(addrs: &[IpAddr]) -> Vec<IpAddr> {
    let first_is_v4 = addrs.first().is_some_and(IpAddr::is_ipv4);
    let (mut one, mut other): (Vec<IpAddr>, Vec<IpAddr>) = addrs
        .iter()
        .copied()
        .partition(|addr| addr.is_ipv4() == first_is_v4);
    one.reverse();
    other.reverse();
    let mut ordered = Vec::with_capacity(addrs.len());
    while ordered.len() < addrs.len() {
        ordered.extend(one.pop());
        ordered.extend(other.pop());
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_take_turns() {
        let addrs: Vec<IpAddr> = ["::1", "::2", "::3", "10.0.0.1", "10.0.0.2"]
            .map(|addr| addr.parse().unwrap())
            .into();
        let texts: Vec<_> = in_turn(&addrs).iter().map(IpAddr::to_string).collect();
        assert_eq!(texts, ["::1", "10.0.0.1", "::2", "10.0.0.2", "::3"]);
        assert!(in_turn(&[]).is_empty());
    }

    #[tokio::test]
    async fn a_closed_address_gives_way_to_an_open_one() {
        let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let closed = Ipv4Addr::new(127, 0, 0, 3).into();
        let stream = connect(&[closed, addr.ip()], addr.port()).await.unwrap();
        assert_eq!(stream.peer_addr().unwrap(), addr);
        let refused = connect(&[closed], addr.port()).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
