//! The pod's network handed to the guest by bridge binding: the NIC becomes eth0-nic and, with tap0, a port of k6t-eth0; a device
//! without ports named eth0 keeps the pod's address and MAC. Needs NET_ADMIN in the pod's network namespace.

use serde::Deserialize;

use crate::launch::command::{LaunchError, io, run};

/// The bridge.
pub const BRIDGE: &str = "k6t-eth0";
/// Its address, and the DHCP server's identity.
pub const BRIDGE_ADDRESS: std::net::Ipv4Addr = std::net::Ipv4Addr::new(169, 254, 75, 10);

/// What the guest is told by DHCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodNetwork {
    /// MAC of the pod's NIC.
    pub mac: String,
    /// IPv4.
    pub ip: std::net::Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
    /// MTU.
    pub mtu: u16,
    /// Default gateway.
    pub gateway: Option<std::net::Ipv4Addr>,
    /// Other routes: destination, prefix, gateway (none: on the link).
    pub routes: Vec<(std::net::Ipv4Addr, u8, Option<std::net::Ipv4Addr>)>,
}

#[derive(Deserialize)]
struct Link {
    address: String,
    mtu: u16,
    #[serde(default)]
    addr_info: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    family: String,
    local: String,
    prefixlen: u8,
}

#[derive(Deserialize)]
struct Route {
    dst: String,
    gateway: Option<std::net::Ipv4Addr>,
    #[serde(default)]
    protocol: String,
}

/// Reads what the CNI plugin has set up on eth0.
pub async fn read() -> Result<PodNetwork, LaunchError> {
    let links = run("ip", &["-json", "address", "show", "dev", "eth0"]).await?;
    let routes = run("ip", &["-json", "-4", "route", "show", "dev", "eth0"]).await?;
    parse(&links, &routes)
}

fn parse(links: &[u8], routes: &[u8]) -> Result<PodNetwork, LaunchError> {
    let understand = |source| LaunchError::Json("ip's answer".into(), source);
    let links: Vec<Link> = serde_json::from_slice(links).map_err(understand)?;
    let routes: Vec<Route> = serde_json::from_slice(routes).map_err(understand)?;
    let link = links
        .into_iter()
        .next()
        .ok_or_else(|| LaunchError::Pod("the pod has no eth0".into()))?;
    let address = link.addr_info.iter().find(|address| address.family == "inet");
    let (ip, prefix) = address
        .and_then(|address| Some((address.local.parse().ok()?, address.prefixlen)))
        .ok_or_else(|| LaunchError::Pod("the pod has no IPv4 address".into()))?;
    let others = routes
        .iter()
        .filter(|route| route.dst != "default" && route.protocol != "kernel");
    Ok(PodNetwork {
        mac: link.address,
        ip,
        prefix,
        mtu: link.mtu,
        gateway: routes
            .iter()
            .find(|route| route.dst == "default")
            .and_then(|route| route.gateway),
        routes: others
            .filter_map(|route| {
                let (destination, prefix) = route.dst.split_once('/').unwrap_or((&route.dst, "32"));
                Some((destination.parse().ok()?, prefix.parse().ok()?, route.gateway))
            })
            .collect(),
    })
}

/// Rebuilds the pod's network around the guest. `queues` above one makes a tap with several.
pub async fn bridge(network: &PodNetwork, queues: u32) -> Result<(), LaunchError> {
    let mtu = network.mtu.to_string();
    let ip = |arguments: &str| {
        let arguments: Vec<String> = arguments.split_whitespace().map(str::to_owned).collect();
        async move {
            run("ip", &arguments.iter().map(String::as_str).collect::<Vec<_>>())
                .await
                .map(drop)
        }
    };
    ip("link set eth0 down").await?;
    ip("address flush dev eth0").await?;
    ip("link set eth0 name eth0-nic").await?;
    ip(&format!("link set eth0-nic address {}", random_mac()?)).await?;

    ip(&format!(
        "link add {BRIDGE} address {} mtu {mtu} type bridge stp_state 0 forward_delay 0",
        random_mac()?
    ))
    .await?;
    ip(&format!("address add {BRIDGE_ADDRESS}/32 dev {BRIDGE}")).await?;
    let multi = if queues > 1 { "multi_queue" } else { "" };
    ip(&format!("tuntap add dev tap0 mode tap {multi}")).await?;
    ip(&format!("link set tap0 mtu {mtu} master {BRIDGE}")).await?;
    ip(&format!("link set eth0-nic master {BRIDGE}")).await?;
    ip("link set eth0-nic type bridge_slave learning off").await?;

    // The pod's address stays visible, on a device that leads nowhere. Not every kernel has dummy devices.
    let keeper = format!("link add eth0 address {} mtu {mtu} type", network.mac);
    if ip(&format!("{keeper} dummy")).await.is_err() {
        ip(&format!("{keeper} bridge")).await?;
    }
    ip(&format!("address add {}/{} dev eth0", network.ip, network.prefix)).await?;
    // Without this the pod would answer ARP for the address that is the guest's.
    let ignore = "/proc/sys/net/ipv4/conf/all/arp_ignore";
    tokio::fs::write(ignore, "1").await.map_err(io(ignore))?;
    for device in ["eth0", "tap0", "eth0-nic", BRIDGE] {
        ip(&format!("link set {device} up")).await?;
    }
    Ok(())
}

/// A locally administered unicast address.
fn random_mac() -> Result<String, LaunchError> {
    let source = "/proc/sys/kernel/random/uuid";
    let uuid = std::fs::read_to_string(source).map_err(io(source))?;
    let digits: Vec<char> = uuid.chars().filter(char::is_ascii_hexdigit).take(10).collect();
    Ok(std::iter::once("02".to_owned())
        .chain(digits.chunks(2).map(|pair| pair.iter().collect()))
        .collect::<Vec<String>>()
        .join(":"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_gets_what_the_pod_had() {
        let links = br#"[{"ifname":"eth0","address":"0a:58:0a:f4:00:05","mtu":1450,"addr_info":[
            {"family":"inet","local":"10.244.0.5","prefixlen":24},{"family":"inet6","local":"fe80::1","prefixlen":64}]}]"#;
        let routes =
            br#"[{"dst":"default","gateway":"10.244.0.1","flags":[]},{"dst":"10.244.0.0/24","protocol":"kernel"},
            {"dst":"10.244.0.0/16","gateway":"10.244.0.1"}]"#;
        let network = parse(links, routes).unwrap();
        assert_eq!(
            (network.ip.to_string().as_str(), network.prefix, network.mtu),
            ("10.244.0.5", 24, 1450)
        );
        assert_eq!(network.gateway.unwrap().to_string(), "10.244.0.1");
        assert_eq!(network.routes.len(), 1);
    }

    #[test]
    fn made_up_addresses_are_local_and_unicast() {
        let mac = random_mac().unwrap();
        assert!(mac.starts_with("02:") && mac.len() == 17, "{mac}");
    }
}
