//! A leader that dies without a word.

use super::{at_rest, authorities, unchanged, undisturbed};
use capn_integration::{Fault, FaultyProxy, Manager, Options, difference, run};
use k8s_openapi::api::coordination::v1::Lease;

const LEASE: &str = "controller-leader-election-capn";

fn holder(lease: &Lease) -> Option<String> {
    lease
        .spec
        .as_ref()?
        .holder_identity
        .clone()
        .filter(|holder| !holder.is_empty())
}

#[test]
fn a_leader_that_is_killed_amid_a_creation_is_followed_by_another_that_ends_it() {
    run(async |env| {
        let expected = undisturbed(&env.sibling().await).await;
        let mark = env.mark();
        let proxy = FaultyProxy::start(env, "nested", "leader", 8, Fault::Cut).await;
        let options = Options {
            port: Some(proxy.port),
            user: Some("leader".into()),
            ..Options::default().candidate(env)
        };
        let first = Manager::start_with(env, options).await;
        let held = env
            .wait_for::<Lease>(LEASE, "held", |lease| holder(lease).is_some())
            .await;
        let second = Manager::start_with(env, Options::default().candidate(env)).await;
        env.tenant().await;
        env.wait("the cut", async || proxy.has_struck().then_some(())).await;
        first.kill();
        assert_eq!(
            env.get::<Lease>(LEASE).await.as_ref().and_then(holder),
            holder(&held),
            "the lease was given up"
        );
        assert_eq!(env.writes(&second.user, mark), [], "two work at once");
        let before = authorities(env).await;
        assert!(!before.is_empty(), "the creation had not begun");
        env.wait_for::<Lease>(LEASE, "held by the other", |lease| {
            holder(lease).is_some() && holder(lease) != holder(&held)
        })
        .await;
        let objects = at_rest(env, &[&second]).await;
        let difference = difference(&expected, &objects);
        assert!(difference.is_empty(), "{difference}");
        unchanged(&before, &authorities(env).await, "under the second leader");
    });
}
