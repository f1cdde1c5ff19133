use super::*;
use crate::control_plane::tests::desired;
use serde_json::json;

/// API server pods by version and whether they are ready.
fn live(pods: &[(&str, bool)]) -> View {
    let pod = |(version, ready): &(&str, bool)| {
        let ready = if *ready { "True" } else { "False" };
        serde_json::from_value(json!({
            "metadata": {"annotations": {VERSION_ANNOTATION: version}},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    };
    View {
        api_server_pods: pods.iter().map(pod).collect(),
        ..View::default()
    }
}

#[test]
fn controllers_wait_for_api_servers_of_their_own_version() {
    let desired = desired(json!({"version": "v1.36.3"}));
    let cases: [(&[(&str, bool)], bool); 6] = [
        (&[], true),
        (&[("v1.36.3", false)], true),
        (&[("v1.36.3", true)], false),
        (&[("v1.36.3", true), ("v1.36.3", false)], false),
        (&[("v1.36.3", true), ("v1.35.6", true)], true),
        (&[("v1.35.6", true), ("v1.36.3", false)], true),
    ];
    for (pods, waits) in cases {
        assert_eq!(waits_for_api_server(&desired, &live(pods)), waits, "{pods:?}");
    }
    let mut ending = live(&[("v1.36.3", true), ("v1.35.6", true)]);
    ending.api_server_pods[1].metadata.deletion_timestamp =
        Some(serde_json::from_value(json!("2026-11-26T10:00:00Z")).unwrap());
    assert!(
        !waits_for_api_server(&desired, &ending),
        "one that ends serves nobody anew"
    );
}
