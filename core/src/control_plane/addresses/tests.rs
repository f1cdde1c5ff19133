use super::*;
use crate::control_plane::tests;
use serde_json::{Value, json};

fn desired(endpoint: Value, published: Value) -> DesiredControlPlane {
    tests::desired(json!({"version": "v1.36.3", "endpoint": endpoint, "controlPlaneEndpoint": published}))
}

fn service(cluster_ip: &str, node_port: i32, ingress: Value) -> Service {
    serde_json::from_value(json!({
        "metadata": {"name": "acme-apiserver"},
        "spec": {"clusterIP": cluster_ip, "ports": [{"port": 6443, "nodePort": node_port}]},
        "status": {"loadBalancer": {"ingress": ingress}},
    }))
    .unwrap()
}

fn found(desired: &DesiredControlPlane, ingress: Value) -> Addresses {
    let api_server = service("10.100.0.10", 30443, ingress);
    addresses(desired, &api_server, "10.100.0.11".parse().ok()).unwrap()
}

#[test]
fn pods_of_the_tenant_are_led_to_an_address_even_where_a_name_is_published() {
    let own = ("10.100.0.10", 6443);
    let cases = [
        (json!({}), json!([]), own),
        (json!({"host": "api.example.com"}), json!([]), own),
        (json!({"host": "192.0.2.1", "port": 443}), json!([]), ("192.0.2.1", 443)),
        (
            json!({"host": "api.example.com", "port": 443, "advertiseAddress": "192.0.2.9"}),
            json!([]),
            ("192.0.2.9", 443),
        ),
        (
            json!({"type": "NodePort", "host": "api.example.com", "advertiseAddress": "192.0.2.9"}),
            json!([]),
            ("192.0.2.9", 30443),
        ),
        (
            json!({"type": "LoadBalancer", "host": "api.example.com"}),
            json!([{"hostname": "a.example.com"}, {"ip": "192.0.2.8"}]),
            ("192.0.2.8", 6443),
        ),
        (
            json!({"type": "LoadBalancer"}),
            json!([{"hostname": "a.example.com"}]),
            own,
        ),
    ];
    for (endpoint, ingress, (address, port)) in cases {
        let found = found(&desired(endpoint.clone(), Value::Null), ingress);
        let reached = (found.reached.0.to_string(), found.reached.1);
        assert_eq!(reached, (address.to_owned(), port), "{endpoint}");
        assert!(
            found.hosts.contains(&address.parse().unwrap()),
            "{endpoint}: certificates lack {address}"
        );
    }
}

#[test]
fn every_address_of_a_load_balancer_is_in_certificates_in_whatever_order() {
    let desired = desired(json!({"type": "LoadBalancer"}), Value::Null);
    let one = json!({"ip": "192.0.2.2"});
    let two = json!({"ip": "192.0.2.1"});
    let name = json!({"hostname": "lb.example.com"});
    let first = found(&desired, json!([one, name, two]));
    assert_eq!(first, found(&desired, json!([name, two, one])));
    for host in ["192.0.2.1", "192.0.2.2", "lb.example.com"] {
        assert!(first.hosts.contains(&host.parse().unwrap()), "{host}");
    }
}

#[test]
fn an_address_that_workers_hold_is_lost_only_when_the_service_had_it() {
    let at = |host: &str, port: i32| json!({"host": host, "port": port});
    let cluster_ip = json!({});
    let node_port = json!({"type": "NodePort", "host": "192.0.2.1"});
    let before = service("10.100.0.10", 30443, json!([]));
    let moved = service("10.100.0.99", 30999, json!([]));
    let cases = [
        (&cluster_ip, at("10.100.0.10", 6443), &before, None),
        (
            &cluster_ip,
            at("10.100.0.10", 6443),
            &moved,
            Some("10.100.0.99 instead of 10.100.0.10"),
        ),
        // A user's own endpoint.
        (&cluster_ip, at("192.0.2.7", 6443), &moved, None),
        (&cluster_ip, at("api.example.com", 6443), &moved, None),
        (&node_port, at("192.0.2.1", 30443), &before, None),
        (
            &node_port,
            at("192.0.2.1", 30443),
            &moved,
            Some("30999 instead of 30443"),
        ),
        (&node_port, at("192.0.2.1", 443), &moved, None),
    ];
    for (endpoint, published, now, says) in cases {
        let desired = desired(endpoint.clone(), published.clone());
        let stored = Given::to(&desired.endpoint, Some(&before), None);
        let lost = lost(&desired, stored, now);
        assert_eq!(lost.is_some(), says.is_some(), "{published}: {lost:?}");
        assert!(
            lost.unwrap_or_default().contains(says.unwrap_or_default()),
            "{published}"
        );
        assert!(
            super::lost(&desired, Given::default(), now).is_none(),
            "nothing is known"
        );
    }
}

#[test]
fn only_what_is_missing_is_asked_for() {
    let node_port = desired(json!({"type": "NodePort", "host": "192.0.2.1"}), Value::Null);
    let had = service("10.100.0.10", 30443, json!([]));
    let given = Given::to(&node_port.endpoint, Some(&had), "10.100.0.11".parse().ok());
    assert_eq!((given.node_port, given.missing(None, None)), (Some(30443), given));
    assert_eq!(given.missing(Some(&had), Some(&had)), Given::default());
    // A cluster IP's Service has no node port that counts.
    let plain = desired(json!({}), Value::Null);
    assert_eq!(Given::to(&plain.endpoint, Some(&had), None).node_port, None);
}
