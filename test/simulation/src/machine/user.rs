//! What users of both clusters do.

use super::kubevirt::bootstrap;
use super::world::World;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::json;

impl World {
    pub(super) fn meddle(&mut self) {
        match self.rng.u8(0..20) {
            0 | 1 => self.delete_object(),
            2 if self.foreign.is_none() => {
                self.say("a user deletes the VirtualMachine");
                self.needs_user = true;
                let vm = self.vm.take();
                self.vm = self.deleting(vm);
            }
            3..=8 => self.ask_to_leave(),
            9 => self.call_off(),
            10 | 11 if self.asked.is_none() && self.node.is_some() && !self.is_marked() => self.cordon(true),
            12 if self.user_cordoned => self.cordon(false),
            13 => {
                self.say("a user deletes the bootstrap data");
                self.bootstrap = None;
            }
            14 if self.foreign.is_none() => {
                self.say("a user deletes the user data");
                self.lost = self.user_data.take().or(self.lost.take());
            }
            15 | 16 => {
                self.silent = !self.silent;
                self.say(format!("the workload cluster is silent: {}", self.silent));
            }
            17 | 18 => {
                self.held = !self.held;
                self.say(format!("pods are held: {}", self.held));
            }
            _ => {}
        }
    }

    fn delete_object(&mut self) {
        let now = self.now;
        let version = self.next_version();
        let Some(object) = &mut self.object else { return };
        if object.metadata.finalizers.as_ref().is_none_or(Vec::is_empty) {
            self.object = None;
        } else {
            object.metadata.deletion_timestamp.get_or_insert(Time(now));
            object.metadata.resource_version = Some(version);
        }
        self.say("a user deletes the machine");
    }

    /// The instance's node is drained.
    fn ask_to_leave(&mut self) {
        if let Some(status) = self.vmi.as_mut().and_then(|vmi| vmi.status.as_mut()) {
            status.evacuation_node_name = "node-1".into();
            // Where nobody has seen that it might stay, its time goes on.
            let before = self.asked_before.filter(|_| self.is_marked());
            self.asked.get_or_insert(before.unwrap_or(self.now));
            self.say("the instance is asked to leave");
        }
    }

    fn call_off(&mut self) {
        if let Some(status) = self.vmi.as_mut().and_then(|vmi| vmi.status.as_mut()) {
            status.evacuation_node_name.clear();
            self.asked_before = self.asked.take();
            self.say("the instance may stay");
        }
    }

    /// What users do while we have cordoned the Node is lost when we uncordon it, as with any drain.
    fn cordon(&mut self, cordoned: bool) {
        if self.cordoned() == cordoned {
            return;
        }
        if let Some(node) = self.node.take() {
            self.node = self.patched(node, &json!({"spec": {"unschedulable": cordoned}}));
            self.user_cordoned = cordoned;
            self.say(format!("a user cordons the Node: {cordoned}"));
        }
    }

    /// Nothing fails any more, and users put back what is needed.
    pub(super) fn all_goes_well(&mut self) {
        self.unlucky = false;
        self.silent = false;
        // A PodDisruptionBudget may hold up a drain for a while only.
        self.held &= self.rng.bool();
        if self
            .machine
            .as_ref()
            .is_some_and(|machine| machine.spec.bootstrap.data_secret_name.is_some())
        {
            self.bootstrap = bootstrap();
        }
        let wanted = self.user_data.is_none() && self.vm.is_some();
        self.user_data = self.user_data.take().or(self.lost.take().filter(|_| wanted));
        self.say("nothing goes wrong any more");
    }
}
