//! A machine that goes takes its VM and its user data with it, in whatever order the others go.

use super::{
    NAME, condition, machine, manager, run_instance, template, unchecked, user_data, virtual_machine, wait_ready,
};
use capn_api::{
    KubevirtMachine,
    cluster_api::{Cluster, Machine},
    kubevirt_machine::FINALIZER,
};
use capn_integration::{TestEnv, run};
use kube::ResourceExt;
use serde_json::json;

async fn vm_gone(env: &TestEnv) {
    let vms = env.kubevirt("VirtualMachine");
    env.wait("the VirtualMachine to go", async || {
        vms.get_opt(NAME).await.unwrap().is_none().then_some(())
    })
    .await;
}

async fn end_instance(env: &TestEnv) {
    let instances = env.kubevirt("VirtualMachineInstance");
    instances.delete(NAME, &Default::default()).await.unwrap();
}

/// Ready speaks of the whole life of a machine, its deletion too.
#[test]
fn a_machine_that_is_deleted_says_what_it_waits_for_and_stays_until_its_instance_has_ended() {
    run(async |env| {
        let manager = manager(env).await;
        machine(env, unchecked(template())).await;
        run_instance(env).await;
        wait_ready(env, "Ready").await;
        env.delete::<KubevirtMachine>(NAME).await;
        vm_gone(env).await;
        let shuts_down = |object: &KubevirtMachine| {
            condition(object).is_some_and(|ready| ready.message.contains("VirtualMachineInstance"))
        };
        let deleting = env.wait_for(NAME, "to wait for the instance", shuts_down).await;
        assert_eq!(condition(&deleting).unwrap().reason, "Deleting");
        manager.look_again(env).await;
        assert!(env.get::<KubevirtMachine>(NAME).await.is_some());
        end_instance(env).await;
        env.wait_gone::<KubevirtMachine>(NAME).await;
        assert!(user_data(env).await.is_none());
    });
}

#[test]
fn a_machine_goes_when_its_cluster_and_machine_are_gone_already() {
    run(async |env| {
        let _manager = manager(env).await;
        machine(env, unchecked(template())).await;
        run_instance(env).await;
        wait_ready(env, "Ready").await;
        env.delete::<Cluster>("tenant").await;
        env.delete::<Machine>(NAME).await;
        env.delete::<KubevirtMachine>(NAME).await;
        vm_gone(env).await;
        assert!(
            env.get::<KubevirtMachine>(NAME).await.is_some(),
            "the instance still runs"
        );
        end_instance(env).await;
        env.wait_gone::<KubevirtMachine>(NAME).await;
        assert!(user_data(env).await.is_none());
    });
}

#[test]
fn a_machine_whose_vm_was_never_made_can_be_deleted() {
    run(async |env| {
        let _manager = manager(env).await;
        machine(env, unchecked(json!({"runStrategy": 5}))).await;
        wait_ready(env, "VMCreateFailed").await;
        env.delete::<KubevirtMachine>(NAME).await;
        env.wait_gone::<KubevirtMachine>(NAME).await;
        assert!(user_data(env).await.is_none());
    });
}

#[test]
fn a_machine_takes_hold_of_its_object_before_it_makes_anything() {
    run(async |env| {
        let manager = manager(env).await;
        let mark = env.mark();
        machine(env, unchecked(template())).await;
        virtual_machine(env).await;
        let writes = env.writes(&manager.user, mark);
        let first = writes
            .iter()
            .find(|write| !write.resource.ends_with("/status"))
            .unwrap();
        assert_eq!(
            (first.resource.as_str(), first.verb.as_str()),
            ("kubevirtmachines", "patch"),
            "{writes:?}"
        );
        let object = env.get::<KubevirtMachine>(NAME).await.unwrap();
        assert!(object.finalizers().iter().any(|finalizer| finalizer == FINALIZER));
    });
}
