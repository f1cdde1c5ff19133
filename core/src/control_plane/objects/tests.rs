//! Flags of the programs.

use crate::control_plane::tests::built;
use serde_json::{Value, json};

/// Flags of a program with these of a user's.
fn flags(component: &str, extra: &[(&str, &str)]) -> Vec<String> {
    let extra: Vec<_> = extra
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let mut spec = json!({"version": "v1.36.3"});
    if component == "etcd" {
        spec["datastore"] = json!({"etcd": {"extraArgs": extra}});
    } else {
        spec[component] = json!({"extraArgs": extra});
    }
    let (workload, at) = match component {
        "controllerManager" => ("controllers", 0),
        "scheduler" => ("controllers", 1),
        workload => (workload, 0),
    };
    let container = &built(&spec)[workload]["spec"]["template"]["spec"]["containers"][at];
    let args = container["args"].as_array().unwrap().iter();
    args.map(|arg| arg.as_str().unwrap().to_owned()).collect()
}

fn has(flags: &[String], name: &str) -> usize {
    flags
        .iter()
        .filter(|flag| flag.starts_with(&format!("--{name}=")))
        .count()
}

#[test]
fn a_users_flag_replaces_ours_and_the_rest_stays() {
    let own = [
        ("profiling", "true"),
        ("feature-gates", "A=true"),
        ("feature-gates", "B=true"),
    ];
    let flags = flags("apiServer", &own);
    assert_eq!(
        (
            has(&flags, "profiling"),
            has(&flags, "feature-gates"),
            has(&flags, "secure-port")
        ),
        (1, 2, 1)
    );
    assert!(flags.contains(&"--profiling=true".into()));
}

#[test]
fn ours_steps_aside_for_a_flag_that_cannot_stand_beside_it() {
    let signers = ["cluster-signing-cert-file", "cluster-signing-key-file"];
    let cases: [(&str, &str, &[&str]); 5] = [
        ("apiServer", "authorization-config", &["authorization-mode"]),
        ("apiServer", "authentication-config", &["anonymous-auth"]),
        (
            "controllerManager",
            "cluster-signing-kubelet-serving-cert-file",
            &signers,
        ),
        ("controllerManager", "cluster-signing-legacy-unknown-key-file", &signers),
        ("controllerManager", "cluster-signing-duration", &[]),
    ];
    for (component, given, ours) in cases {
        let (before, after) = (flags(component, &[]), flags(component, &[(given, "/file")]));
        assert_eq!(after.len() + ours.len(), before.len() + 1, "{given}");
        for ours in ours {
            assert_eq!((has(&before, ours), has(&after, ours)), (1, 0), "{ours} beside {given}");
        }
    }
}

#[test]
fn an_api_server_goes_on_to_serve_until_nobody_is_led_to_it() {
    assert_eq!(has(&flags("apiServer", &[]), "shutdown-delay-duration"), 1);
    let grace: Value =
        built(&json!({"version": "v1.36.3"}))["apiServer"]["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            .clone();
    assert_eq!(grace, 30, "time for the delay and for what is asked meanwhile");
}
