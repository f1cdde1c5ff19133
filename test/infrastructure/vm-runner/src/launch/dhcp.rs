//! A DHCP server for one client: the guest's MAC gets the pod's address, as KubeVirt's own server gives it. A packet in, a packet
//! out; nobody else is answered.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::UdpSocket;

use crate::launch::command::{LaunchError, io};
use crate::launch::network::{BRIDGE, BRIDGE_ADDRESS, PodNetwork};

/// 999 days.
const LEASE: u32 = 999 * 24 * 60 * 60;
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where options start: after the fixed fields and the cookie.
const OPTIONS: usize = 240;

/// What the guest is told.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The only client.
    pub mac: [u8; 6],
    /// The pod's network.
    pub network: PodNetwork,
    /// Name servers.
    pub servers: Vec<Ipv4Addr>,
    /// Search domains.
    pub search: Vec<String>,
    /// The guest's name.
    pub host_name: String,
}

/// Six bytes of a MAC.
#[must_use]
pub fn mac(text: &str) -> Option<[u8; 6]> {
    let bytes: Vec<u8> = text
        .split([':', '-'])
        .map(|part| u8::from_str_radix(part, 16))
        .collect::<Result<_, _>>()
        .ok()?;
    bytes.try_into().ok()
}

/// Name servers and search domains of a resolv.conf.
#[must_use]
pub fn resolvers(text: &str) -> (Vec<Ipv4Addr>, Vec<String>) {
    let words = |key: &'static str| {
        text.lines()
            .filter_map(move |line| line.trim().strip_prefix(key))
            .flat_map(str::split_whitespace)
    };
    (
        words("nameserver ").filter_map(|server| server.parse().ok()).collect(),
        words("search ").map(str::to_owned).collect(),
    )
}

/// Listens on the bridge; ready when it returns.
pub async fn bind() -> Result<UdpSocket, LaunchError> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67))
        .await
        .map_err(io("port 67"))?;
    socket.set_broadcast(true).map_err(io("port 67"))?;
    socket.bind_device(Some(BRIDGE.as_bytes())).map_err(io(BRIDGE))?;
    Ok(socket)
}

/// Answers until the socket fails.
pub async fn serve(socket: UdpSocket, lease: Lease) {
    let mut packet = [0; 1500];
    let broadcast: SocketAddr = (Ipv4Addr::BROADCAST, 68).into();
    while let Ok((length, _)) = socket.recv_from(&mut packet).await {
        if let Some(answer) = answer(&packet[..length], &lease)
            && let Err(error) = socket.send_to(&answer, broadcast).await
        {
            tracing::warn!(%error, "cannot answer DHCP");
        }
    }
}

/// The answer to a request, if it is one from the guest.
#[must_use]
pub fn answer(request: &[u8], lease: &Lease) -> Option<Vec<u8>> {
    if request.len() < OPTIONS || request[0] != 1 || request[28..34] != lease.mac || request[236..240] != COOKIE {
        return None;
    }
    let kind = match option(request, 53)?.first()? {
        1 => 2,     // DISCOVER: OFFER
        3 | 8 => 5, // REQUEST, INFORM: ACK
        _ => return None,
    };
    // A request for another server is not ours; one for another address gets a NAK, so that the guest starts anew.
    let ours = option(request, 54).is_none_or(|server| server == BRIDGE_ADDRESS.octets());
    if !ours {
        return None;
    }
    let wrong = option(request, 50).is_some_and(|wanted| wanted != lease.network.ip.octets());
    let kind = if kind == 5 && wrong { 6 } else { kind };

    let mut reply = vec![0; OPTIONS];
    reply[0] = 2;
    reply[1..3].copy_from_slice(&[1, 6]);
    reply[4..8].copy_from_slice(&request[4..8]);
    reply[10..12].copy_from_slice(&[0x80, 0]); // broadcast: the guest has no address yet
    if kind != 6 {
        reply[16..20].copy_from_slice(&lease.network.ip.octets());
    }
    reply[20..24].copy_from_slice(&BRIDGE_ADDRESS.octets());
    reply[28..34].copy_from_slice(&lease.mac);
    reply[236..240].copy_from_slice(&COOKIE);
    put(&mut reply, 53, &[kind]);
    put(&mut reply, 54, &BRIDGE_ADDRESS.octets());
    if kind != 6 {
        options(&mut reply, lease);
    }
    reply.push(255);
    reply.resize(reply.len().max(300), 0);
    Some(reply)
}

fn options(reply: &mut Vec<u8>, lease: &Lease) {
    let network = &lease.network;
    let mask = u32::MAX
        .checked_shl(32 - u32::from(network.prefix.min(32)))
        .unwrap_or(0);
    put(reply, 51, &LEASE.to_be_bytes());
    put(reply, 1, &mask.to_be_bytes());
    put(reply, 26, &network.mtu.to_be_bytes());
    put(reply, 12, lease.host_name.as_bytes());
    if let Some(gateway) = network.gateway {
        put(reply, 3, &gateway.octets());
    }
    if !lease.servers.is_empty() {
        put(
            reply,
            6,
            &lease.servers.iter().flat_map(Ipv4Addr::octets).collect::<Vec<u8>>(),
        );
    }
    if let Some(domain) = lease.search.iter().find(|domain| domain.contains('.')) {
        put(reply, 15, domain.as_bytes());
    }
    put(reply, 119, &search(&lease.search));
    // Who understands option 121 ignores option 3: the default route is among these, too.
    if !network.routes.is_empty() {
        let default = network.gateway.map(|gateway| (Ipv4Addr::UNSPECIFIED, 0, Some(gateway)));
        let routes: Vec<u8> = network
            .routes
            .iter()
            .copied()
            .chain(default)
            .flat_map(|route| classless(&route))
            .collect();
        put(reply, 121, &routes);
    }
}

fn classless((destination, prefix, gateway): &(Ipv4Addr, u8, Option<Ipv4Addr>)) -> Vec<u8> {
    let significant = usize::from(prefix.div_ceil(8)).min(4);
    let gateway = gateway.unwrap_or(Ipv4Addr::UNSPECIFIED);
    [
        &[*prefix][..],
        &destination.octets()[..significant],
        &gateway.octets()[..],
    ]
    .concat()
}

/// Domain names as DNS writes them, uncompressed.
fn search(domains: &[String]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for domain in domains {
        for label in domain.split('.').filter(|label| !label.is_empty() && label.len() < 64) {
            bytes.extend(u8::try_from(label.len()));
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
    }
    bytes
}

/// Adds an option, in pieces when it is long.
fn put(reply: &mut Vec<u8>, code: u8, value: &[u8]) {
    for piece in value.chunks(255) {
        reply.push(code);
        reply.extend(u8::try_from(piece.len()));
        reply.extend(piece);
    }
}

fn option(packet: &[u8], code: u8) -> Option<&[u8]> {
    let mut at = OPTIONS;
    loop {
        match *packet.get(at)? {
            255 => return None,
            0 => at += 1,
            found => {
                let length = usize::from(*packet.get(at + 1)?);
                let value = packet.get(at + 2..at + 2 + length)?;
                if found == code {
                    return Some(value);
                }
                at += 2 + length;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        Lease {
            mac: mac("0a:58:0a:f4:00:05").unwrap(),
            network: PodNetwork {
                mac: "0a:58:0a:f4:00:05".into(),
                ip: Ipv4Addr::new(10, 244, 0, 5),
                prefix: 24,
                mtu: 1450,
                gateway: Some(Ipv4Addr::new(10, 244, 0, 1)),
                routes: vec![(Ipv4Addr::new(10, 244, 0, 0), 16, Some(Ipv4Addr::new(10, 244, 0, 1)))],
            },
            servers: vec![Ipv4Addr::new(10, 96, 0, 10)],
            search: vec!["default.svc.cluster.local".into()],
            host_name: "w".into(),
        }
    }

    fn request(mac: [u8; 6], kind: u8, extra: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; OPTIONS];
        packet[0] = 1;
        packet[4..8].copy_from_slice(&[1, 2, 3, 4]);
        packet[28..34].copy_from_slice(&mac);
        packet[236..240].copy_from_slice(&COOKIE);
        put(&mut packet, 53, &[kind]);
        packet.extend(extra);
        packet.push(255);
        packet
    }

    #[test]
    fn the_guest_is_offered_the_pods_address() {
        let lease = lease();
        let offer = answer(&request(lease.mac, 1, &[]), &lease).unwrap();
        assert_eq!(option(&offer, 53), Some(&[2][..]));
        assert_eq!(offer[16..20], [10, 244, 0, 5]);
        assert_eq!(offer[4..8], [1, 2, 3, 4]);
        assert_eq!(option(&offer, 1), Some(&[255, 255, 255, 0][..]));
        assert_eq!(option(&offer, 26), Some(&1450u16.to_be_bytes()[..]));
        assert_eq!(
            option(&offer, 121),
            Some(&[16, 10, 244, 10, 244, 0, 1, 0, 10, 244, 0, 1][..])
        );
        let ack = answer(&request(lease.mac, 3, &[]), &lease).unwrap();
        assert_eq!(option(&ack, 53), Some(&[5][..]));
    }

    #[test]
    fn nobody_else_is_answered() {
        let lease = lease();
        assert_eq!(answer(&request([2; 6], 1, &[]), &lease), None);
        assert_eq!(answer(&request(lease.mac, 3, &[54, 4, 10, 0, 0, 1]), &lease), None);
        assert_eq!(answer(&[1; 20], &lease), None);
    }

    #[test]
    fn a_wish_for_another_address_is_refused() {
        let lease = lease();
        let nak = answer(&request(lease.mac, 3, &[50, 4, 10, 0, 0, 9]), &lease).unwrap();
        assert_eq!(option(&nak, 53), Some(&[6][..]));
    }

    #[test]
    fn the_pods_resolvers_are_the_guests() {
        let (servers, search) = resolvers("search a.b c.d\nnameserver 10.96.0.10\noptions ndots:5\n");
        assert_eq!(
            (servers, search),
            (vec![Ipv4Addr::new(10, 96, 0, 10)], vec!["a.b".into(), "c.d".into()])
        );
    }
}
