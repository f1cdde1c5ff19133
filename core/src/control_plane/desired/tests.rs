use super::*;
use crate::certificates::Marks;
use crate::control_plane::objects;
use crate::control_plane::tests::{certificates, cluster, desired, ncp, reached, refused};
use serde_json::{Value, json};

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

#[test]
fn names_in_certificates_are_compared_as_values() {
    let said = |sans: Value| {
        let desired = desired(json!({"version": "v1.36.3", "certificates": {"certSANs": sans}}));
        // Fails where a certificate does not say what was asked for.
        certificates(&desired, &reached(&desired))
    };
    let one = said(json!(["2001:db8::1", "fd00::10", "api.example.com"]));
    for spelling in [
        json!(["2001:db8:0:0:0:0:0:1", "FD00::10", "API.example.com"]),
        json!(["[2001:db8::1]", "fd00:0::10", "api.example.com."]),
        json!(["2001:db8::1", "2001:DB8::1", "fd00::10", "api.example.com"]),
    ] {
        assert_eq!(said(spelling.clone()), one, "{spelling}");
    }
    assert_ne!(said(json!(["2001:db8::2", "fd00::10", "api.example.com"])), one);
}

#[test]
fn a_host_is_published_in_one_spelling() {
    for (host, published) in [
        ("[2001:DB8::1]", "2001:db8::1"),
        ("API.example.com", "api.example.com"),
        ("192.0.2.1", "192.0.2.1"),
    ] {
        let desired = desired(json!({"version": "v1.36.3", "endpoint": {"host": host}}));
        assert_eq!(reached(&desired).published.unwrap().host, published);
    }
}

#[test]
fn what_names_nothing_is_refused_with_its_field() {
    let version = || json!({"version": "v1.36.3"});
    let networks = |services: Value, pods: Value| json!({"clusterNetwork": {"services": {"cidrBlocks": services}, "pods": {"cidrBlocks": pods}}});
    let (v4, v6) = ("10.95.0.0/16", "fd95::/112");
    for (spec, cluster, says) in [
        (
            json!({"version": "v1.36.3", "endpoint": {"host": "a_b/c"}}),
            json!({}),
            "spec.endpoint.host is invalid: \"a_b/c\" is neither",
        ),
        (
            json!({"version": "v1.36.3", "certificates": {"certSANs": ["ok.example.com", "192.0.2.256"]}}),
            json!({}),
            "certificates.certSANs is invalid: \"192.0.2.256\"",
        ),
        (
            version(),
            json!({"clusterNetwork": {"serviceDomain": "a b"}}),
            "serviceDomain is invalid",
        ),
        (
            version(),
            networks(json!([v4, "10.96.0.0/16"]), json!(["10.243.0.0/16"])),
            "one IPv4 and one IPv6 range",
        ),
        (
            version(),
            networks(json!([v4]), json!(["fd24::/48"])),
            "have different IP families",
        ),
        (
            version(),
            networks(json!([v4, v6]), json!(["10.243.0.0/16"])),
            "have different IP families",
        ),
        (
            json!({"version": "v1.37.0"}),
            json!({}),
            "set v1.36 or older, or upgrade the provider",
        ),
        (
            json!({"version": "v9.9.9"}),
            json!({}),
            "set v1.36 or older, or upgrade the provider",
        ),
        (
            json!({"version": "v1.32.1"}),
            json!({}),
            "set a version from v1.33 to v1.36",
        ),
    ] {
        let error = refused(spec, cluster);
        assert!(error.contains(says), "{says:?} is not in {error}");
    }
    let dual = networks(json!([v4, v6]), json!(["10.243.0.0/16", "fd24::/48"]));
    assert!(validate(&ncp(version()), &self::cluster(dual)).is_ok());
}

#[test]
fn an_endpoint_of_another_family_than_the_services_is_refused() {
    let desired = desired(json!({"version": "v1.36.3"}));
    let error = validate_endpoint(&desired.network, "2001:db8::1".parse().ok())
        .unwrap_err()
        .to_string();
    assert!(error.contains("set endpoint.advertiseAddress"), "{error}");
    assert!(validate_endpoint(&desired.network, "192.0.2.1".parse().ok()).is_ok());
}

#[test]
fn a_cluster_whose_name_cannot_be_that_of_a_service_is_refused() {
    let named = |name: &str| {
        let mut cluster = cluster(json!({}));
        cluster.metadata.name = Some(name.into());
        validate(&ncp(json!({"version": "v1.36.3"})), &cluster)
            .err()
            .map(|error| error.to_string())
    };
    for name in ["a.b", "1acme", "acme.", "0"] {
        let error = named(name).unwrap();
        assert!(
            error.contains(name) && error.contains("starts with a letter"),
            "{error}"
        );
    }
    assert_eq!((named("acme"), named("a1-b")), (None, None));
}

#[test]
fn volumes_that_would_be_mixed_up_are_refused() {
    let volume =
        |name: &str, source: &str| json!([{"name": name, "mountPath": "/extra", "configMap": {"name": source}}]);
    let spec = |one: Value, other: Value| json!({"version": "v1.36.3", "apiServer": {"extraVolumes": one}, "scheduler": {"extraVolumes": other}});
    let error = refused(spec(volume("audit", "a"), volume("audit", "b")), json!({}));
    assert!(error.contains("\"audit\" of apiServer and scheduler"), "{error}");
    for own in OWN_VOLUMES {
        let error = refused(spec(volume(own, "a"), json!([])), json!({}));
        assert!(error.contains(own) && error.contains("another name"), "{error}");
    }
    desired(spec(volume("audit", "a"), volume("audit", "a")));
}

#[test]
fn the_names_of_our_volumes_are_the_list() {
    let desired = desired(json!({"version": "v1.36.3"}));
    let workloads = objects::workloads(&desired, &reached(&desired), &Marks::default());
    let deployments = [workloads.api_server, workloads.controllers].into_iter();
    let volumes = deployments.filter_map(|deployment| deployment.spec?.template.spec?.volumes);
    let names: BTreeSet<_> = volumes.flatten().map(|volume| volume.name).collect();
    assert_eq!(names, OWN_VOLUMES.map(str::to_owned).into());
}

#[test]
fn a_rollout_replaces_only_pods_that_are_older_and_only_once() {
    let now = at("2026-11-21T00:00:00Z");
    let (before, past, ahead) = ("2026-11-01T00:00:00Z", "2026-11-10T00:00:00Z", "2026-12-01T00:00:00Z");
    // When the last rollout was for, when the pod was created, what is wanted; what the pods get, and
    // when to look again.
    let cases = [
        (None, before, None, None, None),
        (None, before, Some(past), Some(past), None),
        (None, past, Some(before), None, None),
        (None, before, Some(ahead), None, Some(ahead)),
        (Some(before), past, None, Some(before), None),
        (Some(past), "2026-11-20T00:00:00Z", Some(before), Some(past), None),
        (Some(before), before, Some(ahead), Some(before), Some(ahead)),
        (Some(past), before, Some(past), Some(past), None),
    ];
    for (done, created, wanted, gets, again) in cases {
        let mut desired = desired(json!({"version": "v1.36.3"}));
        desired.rollout_after = wanted.map(at);
        let annotations = done.map(|done| json!({ROLLOUT_ANNOTATION: done}));
        let deployment =
            json!({"metadata": {}, "spec": {"selector": {}, "template": {"metadata": {"annotations": annotations}}}});
        let observed = View {
            api_server: serde_json::from_value(deployment).unwrap(),
            api_server_pods: vec![serde_json::from_value(json!({"metadata": {"creationTimestamp": created}})).unwrap()],
            ..View::default()
        };
        let due = rollout(&mut desired, &observed, now);
        assert_eq!(
            (desired.rollout_after, due),
            (gets.map(at), again.map(at)),
            "{done:?} {created} {wanted:?}"
        );
    }
}
