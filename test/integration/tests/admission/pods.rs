//! What reaches the pods: volumes, flags, further containers. Nothing of it may reach the node.

use super::{refused, taken};
use capn_integration::run;
use serde_json::{Value, json};

const COMPONENTS: [&str; 3] = ["apiServer", "controllerManager", "scheduler"];

fn volume(component: &str, source: Value) -> Value {
    let mut volume = json!({"name": "extra", "mountPath": "/etc/extra"});
    for (key, value) in source.as_object().unwrap() {
        volume[key] = value.clone();
    }
    json!({component: {"extraVolumes": [volume]}})
}

fn container(fields: Value) -> Value {
    let mut container = json!({"name": "extra", "image": "registry.example.com/extra:v1"});
    for (key, value) in fields.as_object().unwrap() {
        container[key] = value.clone();
    }
    json!({"podTemplate": {"containers": [container]}})
}

#[test]
fn a_host_path_is_refused_in_every_component_and_told_what_there_is_instead() {
    run(async |env| {
        let words: &[&str] = &[
            "hostPath reaches the management cluster's node",
            "use configMap, secret, emptyDir, persistentVolumeClaim or projected",
        ];
        for component in COMPONENTS {
            let alone = volume(component, json!({"hostPath": {"path": "/etc", "type": "Directory"}}));
            let beside = volume(component, json!({"hostPath": {"path": "/"}, "emptyDir": {}}));
            refused(env, &[(alone, words), (beside, words)]).await;
        }
    });
}

#[test]
fn a_volume_with_two_sources_or_none_is_told_to_have_exactly_one() {
    run(async |env| {
        let words: &[&str] = &["an extra volume has exactly one source: configMap, secret"];
        refused(
            env,
            &[
                (volume("apiServer", json!({})), words),
                (
                    volume(
                        "scheduler",
                        json!({"configMap": {"name": "a"}, "secret": {"secretName": "b"}}),
                    ),
                    words,
                ),
                (
                    volume(
                        "controllerManager",
                        json!({"emptyDir": {}, "persistentVolumeClaim": {"claimName": "c"}}),
                    ),
                    words,
                ),
            ],
        )
        .await;
        taken(
            env,
            &[
                volume("apiServer", json!({"configMap": {"name": "a"}})),
                volume("apiServer", json!({"secret": {"secretName": "a"}})),
                volume("apiServer", json!({"emptyDir": {}})),
                volume(
                    "apiServer",
                    json!({"emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}),
                ),
                volume("apiServer", json!({"persistentVolumeClaim": {"claimName": "a"}})),
                volume(
                    "apiServer",
                    json!({"projected": {"sources": [{"configMap": {"name": "a"}}]}}),
                ),
            ],
        )
        .await;
    });
}

#[test]
fn a_mount_path_that_is_not_absolute_is_told_how_to_write_it() {
    run(async |env| {
        let words: &[&str] = &["mountPath must be an absolute path, such as /etc/kubernetes/audit"];
        let at = |path: &str| volume("apiServer", json!({"emptyDir": {}, "mountPath": path}));
        refused(env, &[(at("etc"), words), (at("/a:/b"), words)]).await;
    });
}

#[test]
fn a_flag_with_dashes_or_its_value_in_its_name_is_told_how_to_write_it() {
    run(async |env| {
        let words: &[&str] = &["without dashes and without its value", "name: audit-log-maxage"];
        let flag = |component: &str, name: &str| json!({component: {"extraArgs": [{"name": name, "value": "1"}]}});
        for component in COMPONENTS {
            refused(
                env,
                &[
                    (flag(component, "--v"), words),
                    (flag(component, "-v"), words),
                    (flag(component, "v=1"), words),
                ],
            )
            .await;
        }
        let etcd = |name: &str| json!({"datastore": {"etcd": {"extraArgs": [{"name": name, "value": "1"}]}}});
        refused(env, &[(etcd("--quota-backend-bytes"), words)]).await;
        taken(
            env,
            &[flag("apiServer", "audit-log-maxage"), etcd("quota-backend-bytes")],
        )
        .await;
    });
}

#[test]
fn an_extra_container_that_reaches_the_node_is_told_what_to_remove() {
    run(async |env| {
        let context = |fields: Value| container(json!({"securityContext": fields}));
        let cases: [(Value, &[&str]); 9] = [
            (
                context(json!({"privileged": true})),
                &["remove securityContext.privileged"],
            ),
            (
                context(json!({"allowPrivilegeEscalation": true})),
                &["remove securityContext.allowPrivilegeEscalation"],
            ),
            (
                context(json!({"runAsUser": 0})),
                &["set securityContext.runAsUser to another user than 0"],
            ),
            (
                context(json!({"runAsNonRoot": false})),
                &["remove securityContext.runAsNonRoot: false"],
            ),
            (
                context(json!({"procMount": "Unmasked"})),
                &["remove securityContext.procMount"],
            ),
            (
                context(json!({"seccompProfile": {"type": "Unconfined"}})),
                &["remove securityContext.seccompProfile Unconfined"],
            ),
            (
                context(json!({"capabilities": {"add": ["SYS_ADMIN"]}})),
                &["add no capability but NET_BIND_SERVICE"],
            ),
            (
                container(json!({"ports": [{"containerPort": 80, "hostPort": 80}]})),
                &["remove hostPort, which opens a port of the management cluster's node"],
            ),
            (
                container(json!({"volumeDevices": [{"name": "a", "devicePath": "/dev/a"}]})),
                &["remove volumeDevices"],
            ),
        ];
        refused(env, &cases).await;
        let named = cases.map(|(spec, _)| {
            (
                spec,
                &["podTemplate.containers must satisfy Pod Security restricted"][..],
            )
        });
        refused(env, &named).await;
    });
}

#[test]
fn what_else_pod_security_restricted_refuses_of_a_container_is_refused_here_too() {
    run(async |env| {
        let context = |fields: Value| container(json!({"securityContext": fields}));
        let words: &[&str] = &["podTemplate.containers"];
        refused(
            env,
            &[
                (context(json!({"seLinuxOptions": {"user": "system_u"}})), words),
                (context(json!({"seLinuxOptions": {"type": "spc_t"}})), words),
                (context(json!({"appArmorProfile": {"type": "Unconfined"}})), words),
                (context(json!({"windowsOptions": {"hostProcess": true}})), words),
                (
                    container(json!({"livenessProbe": {"httpGet": {"host": "169.254.169.254", "port": 80}}})),
                    words,
                ),
                (
                    container(json!({"lifecycle": {"postStart": {"httpGet": {"host": "10.0.0.1", "port": 80}}}})),
                    words,
                ),
            ],
        )
        .await;
    });
}

#[test]
fn an_extra_container_with_the_name_of_our_own_is_told_to_choose_another() {
    run(async |env| {
        let words: &[&str] = &["choose another name: this one is the control plane's own"];
        let names = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd"];
        refused(env, &names.map(|name| (container(json!({"name": name})), words))).await;
    });
}

#[test]
fn an_extra_container_as_pod_security_restricted_wants_it_is_taken() {
    run(async |env| {
        taken(
            env,
            &[
                container(json!({})),
                container(json!({"ports": [{"containerPort": 8080, "hostPort": 0}]})),
                container(json!({"securityContext": {
                    "privileged": false, "allowPrivilegeEscalation": false, "runAsNonRoot": true, "runAsUser": 1000,
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                    "seccompProfile": {"type": "RuntimeDefault"}, "readOnlyRootFilesystem": true,
                }})),
            ],
        )
        .await;
    });
}
