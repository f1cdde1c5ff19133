//! Tenants whose API servers answer too much, too long or not at all hold up themselves alone.

use capn_api::{Condition, NestedControlPlane};
use capn_integration::{Kubelet, Manager, Manner, Options, TenantApiServer, TestEnv, run};
use k8s_openapi::api::core::v1::Service;
use serde_json::json;

/// MiB by which such answers may make a manager grow: a few of 4 MiB at a time. The rest of its memory depends on how
/// it was built.
const MOST_GROWTH: u64 = 40;

/// As many as a manager makes passes at once.
const SLOTS: usize = 16;

async fn named(env: &TestEnv, name: &str) {
    env.cluster_of(name, json!({})).await;
    env.control_plane_of(name, json!({})).await;
}

/// Waits for a condition `Available` with this reason.
async fn says(env: &TestEnv, name: &str, reason: &str) -> Condition {
    let find = async || {
        let ncp = env.get::<NestedControlPlane>(name).await?;
        let available = |c: &Condition| c.type_ == "Available" && c.reason == reason;
        ncp.status?.conditions.into_iter().find(available)
    };
    env.wait(&format!("{name} to say {reason}"), find).await
}

/// A manager, and an API server that answers so. It is asked nothing before pods are ready.
async fn answering(env: &TestEnv, manner: Manner) -> (Manager, TenantApiServer) {
    let manager = Manager::start(env).await;
    env.tenant().await;
    let tenant = TenantApiServer::start(env).await;
    tenant.behave(manner);
    (manager, tenant)
}

#[test]
fn an_answer_without_an_end_costs_nobody_memory_and_no_other_tenant_its_service() {
    run(async |env| {
        let (manager, tenant) = answering(env, Manner::Endless).await;
        let before = manager.most_memory();
        let _kubelet = Kubelet::start(env);
        let told = says(env, "tenant", "WorkloadClusterNotPrepared").await;
        assert!(told.message.contains("longer than 4 MiB"), "{told:?}");
        named(env, "fresh").await;
        env.wait_for::<Service>("fresh-apiserver", "to be made", |_| true).await;
        manager.look_again(env).await;
        let grown = manager.most_memory() - before;
        assert!(grown < MOST_GROWTH, "the manager grew by {grown} MiB");
        tenant.behave(Manner::Kind);
        says(env, "tenant", "Available").await;
    });
}

#[test]
fn the_words_of_an_error_are_bounded_and_cannot_paint_a_terminal() {
    run(async |env| {
        let (manager, tenant) = answering(env, Manner::Wordy(40_000)).await;
        let _kubelet = Kubelet::start(env);
        let told = says(env, "tenant", "WorkloadClusterNotPrepared").await;
        assert!(told.message.len() < 2048, "{} bytes", told.message.len());
        assert!(!told.message.chars().any(char::is_control), "{told:?}");
        assert!(told.message.contains("words words"), "{told:?}");
        assert!(
            manager.log().lines().all(|line| line.len() < 4096),
            "the log has the whole of it"
        );
        tenant.behave(Manner::Kind);
        says(env, "tenant", "Available").await;
    });
}

#[test]
fn silent_tenants_in_every_slot_do_not_keep_a_new_one_from_its_service() {
    run(async |env| {
        let mut args = Options::default().args;
        args.push("--max-concurrent-starts=100".into());
        let options = Options {
            args,
            ..Options::default()
        };
        let _manager = Manager::start_with(env, options).await;
        let mut tenants = Vec::new();
        for number in 0..SLOTS {
            named(env, &format!("silent-{number}")).await;
        }
        for number in 0..SLOTS {
            let tenant = TenantApiServer::start_of(env, &format!("silent-{number}"), None).await;
            tenant.behave(Manner::Silent);
            tenants.push(tenant);
        }
        let _kubelet = Kubelet::start(env);
        says(env, "silent-0", "WorkloadClusterNotPrepared").await;
        named(env, "fresh").await;
        env.wait_for::<Service>("fresh-apiserver", "to be made", |_| true).await;
        for tenant in &tenants {
            tenant.behave(Manner::Kind);
        }
        for number in 0..SLOTS {
            says(env, &format!("silent-{number}"), "Available").await;
        }
    });
}
