//! Reasons of conditions and Events: what each means and what to do. `docs/conditions.md` is made from
//! them.

use std::{borrow::Cow, fmt};

/// A kind that carries conditions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// NestedControlPlane.
    NestedControlPlane,
    /// KubevirtCluster.
    KubevirtCluster,
    /// KubevirtMachine.
    KubevirtMachine,
}

/// What there is to know of a reason.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// The word itself.
    pub name: &'static str,
    /// Kinds and their conditions that have it; `Event` where it is the reason of an Event alone.
    pub places: &'static [(Kind, &'static str)],
    /// What it means.
    pub meaning: &'static str,
    /// What a user does about it; empty when there is nothing to do.
    pub action: &'static str,
    /// Whether it stays until a user does something.
    pub needs_user_action: bool,
}

macro_rules! reasons {
    ($($name:ident on [$($kind:ident $condition:ident),+] $meaning:literal, $action:ident $what:literal;)+) => {
        /// One CamelCase word that says why a condition is as it is. Other programs may rely on them.
        #[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)+
        }

        impl Reason {
            /// All of them, in the order in which they are documented.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What there is to know of it.
            pub const fn info(self) -> Info {
                match self {
                    $(Self::$name => Info {
                        name: stringify!($name),
                        places: &[$((reasons!(@kind $kind), stringify!($condition)),)+],
                        meaning: $meaning,
                        action: $what,
                        needs_user_action: reasons!(@user $action),
                    },)+
                }
            }
        }
    };
    (@kind ncp) => { Kind::NestedControlPlane };
    (@kind kvc) => { Kind::KubevirtCluster };
    (@kind kvm) => { Kind::KubevirtMachine };
    (@user wait) => { false };
    (@user user) => { true };
}

reasons! {
    Available on [ncp Available] "An API server is ready, and workers can join.", wait "";
    Starting on [ncp Available] "Pods, their volumes or their addresses are on their way.", wait "Wait.";
    WaitingForStartSlot on [ncp Available] "Other control planes are still starting.", wait "Wait, or raise `--max-concurrent-starts`.";
    WaitingForCluster on [ncp Available, kvc Ready, kvm Ready] "No Cluster owns the object yet.", wait "Wait, or name the object in `spec.controlPlaneRef` or `spec.infrastructureRef` of the Cluster.";
    WaitingForEndpoint on [ncp Available] "The load balancer has no address yet.", wait "Look at Service `<cluster>-apiserver`.";
    WaitingForAddress on [ncp Available, kvm Ready] "A Service or the VM has no address yet.", wait "Wait.";
    WaitingForVolume on [ncp Available, kvm Ready] "A claim has no volume yet.", wait "Wait, or look at the claim.";
    Invalid on [ncp Available] "The version, the networks or the endpoint cannot be used, or cannot change. A control plane that is running goes on as it was.", user "The message says what to write.";
    NameTaken on [ncp Available, ncp CertificatesValid, kvm Ready] "An object of that name exists and belongs to someone else. It is left alone.", user "Remove the object that the message names, or choose another name for the Cluster or the Machine.";
    DatastoreLost on [ncp Available, ncp DatastoreHealthy] "The volumes of etcd are gone or were replaced although the datastore was in use. The API servers are stopped.", user "Restore the claim, or accept the loss by the annotation that the message names.";
    EndpointLost on [ncp Available] "The Service of the API server was created again, and the address or port that workers use cannot be had again.", user "Free the address that the message names, or delete the Service.";
    NoStorageClass on [ncp Available] "No volume can be made for etcd.", user "Mark a StorageClass as the default, or create the one that the message names.";
    FailedCreate on [ncp Available, ncp ControlPlaneComponentsHealthy, kvm Ready] "The management cluster refuses the pods, for instance because of a quota, a limit range or a webhook.", user "The message has its words.";
    Unschedulable on [ncp Available, ncp ControlPlaneComponentsHealthy, kvm Ready] "No node takes a pod.", user "Free room on a node, or change `spec.podTemplate` or the VM's template.";
    ImagePullFailed on [ncp Available, ncp ControlPlaneComponentsHealthy, kvm Ready] "An image cannot be pulled.", user "Correct its name or the access to its registry.";
    ContainerNotCreated on [ncp Available, ncp ControlPlaneComponentsHealthy] "A container cannot be created, for instance because a volume or a Secret is missing.", user "The message has the kubelet's words.";
    CrashLoopBackOff on [ncp Available, ncp ControlPlaneComponentsHealthy, kvm Ready] "A component or a VM ends again and again, for instance because of a flag that it does not know.", user "The message has its last words.";
    NoPodReady on [ncp Available] "No API server is ready, and the cause is not known.", wait "Look at the logs of the pods.";
    ReadFailed on [ncp Available, kvm Ready] "The management cluster did not answer, or answered with an error. What is known stays as it was.", wait "Wait: it is tried again.";
    WriteFailed on [ncp Available] "The management cluster did not answer a write, or answered with an error.", wait "Wait: it is tried again.";
    WriteRefused on [ncp Available] "The management cluster refused an object. The one that was there before stays.", user "The message has its words.";
    WriteDenied on [ncp Available] "The manager lacks the right to write an object.", user "Install the roles of this release again.";
    WorkloadClusterNotPrepared on [ncp Available] "The API server of the workload cluster refused what workers need.", wait "Wait. The message has its words.";
    Deleting on [ncp Available, ncp Deleting, kvc Ready, kvm Ready, kvm Deleting] "The object is being deleted.", wait "The message says what it waits for.";

    Healthy on [ncp DatastoreHealthy, ncp ControlPlaneComponentsHealthy] "All of it runs.", wait "";
    APIServerNotReady on [ncp ControlPlaneComponentsHealthy] "No kube-apiserver is ready.", wait "Wait; `Available` has the cause.";
    ControllersNotReady on [ncp ControlPlaneComponentsHealthy] "kube-controller-manager and kube-scheduler are not ready. They start once an API server is ready.", wait "Wait, or look at the logs of Deployment `<cluster>-controllers`.";
    MemberNotReady on [ncp DatastoreHealthy] "A member of etcd is not ready.", wait "Wait. The message names the cause, if it is known.";
    MemberLost on [ncp DatastoreHealthy] "One of three members has lost its volume. The others have the data and go on.", user "Restore the volume: the loss of one more member stops the control plane.";
    QuorumLost on [ncp DatastoreHealthy] "Two of three members have lost their volumes. The third has the data, and nothing replaces it.", user "Restore a volume.";

    Valid on [ncp CertificatesValid] "All certificates are there and valid.", wait "";
    SecretInvalid on [ncp CertificatesValid] "A Secret that you brought cannot be used, or lacks the Cluster's label.", user "The message says what is wrong with it.";
    SecretMissing on [ncp CertificatesValid] "An authority and its copy are gone although the control plane is using it.", user "Restore the Secret from a backup.";
    AuthorityChanged on [ncp CertificatesValid] "A Secret holds another authority than the one in use. It is not used.", user "Put the authority in use back. The message says where its copy is.";
    IssueFailed on [ncp CertificatesValid] "A certificate cannot be issued.", user "The message says why.";
    Expired on [ncp CertificatesValid] "A certificate has expired and could not be renewed.", user "`Available` has the cause.";

    RollingOut on [ncp RollingOut] "Pods that run an outdated spec are being replaced.", wait "Wait. The message says what keeps a new pod from starting.";
    NotRollingOut on [ncp RollingOut] "All pods run the current spec.", wait "";
    ScalingUp on [ncp ScalingUp] "Replicas are being added.", wait "Wait. The message says what keeps a new pod from starting.";
    NotScalingUp on [ncp ScalingUp] "There are as many replicas as desired.", wait "";
    ScalingDown on [ncp ScalingDown] "Replicas are being removed.", wait "Wait.";
    NotScalingDown on [ncp ScalingDown] "There are no more replicas than desired.", wait "";
    Paused on [ncp Paused, kvc Paused, kvm Paused] "The object or its Cluster is paused.", wait "Nothing is done until it is resumed.";
    NotPaused on [ncp Paused, kvc Paused, kvm Paused] "Neither the object nor its Cluster is paused.", wait "";
    NotDeleting on [ncp Deleting, kvm Deleting] "The object is not being deleted.", wait "";
    NotYetKnown on [ncp Available, kvc Ready, kvm Ready] "It has not been looked at yet.", wait "Wait.";
    CertificateReissued on [ncp Event] "Certificates were issued in place of others. The message says why.", wait "";
    Orphaned on [ncp Event] "The object was deleted with `--cascade=orphan`: what was created for it stays.", wait "";

    Ready on [kvm Ready] "The VM runs, and its Node has registered as far as it was asked to be checked.", wait "";
    VMRunning on [kvm VMProvisioned] "The VM runs.", wait "";
    WaitingForMachine on [kvm Ready] "No Machine owns the object yet.", wait "Wait, or create the Machine.";
    WaitingForClusterInfrastructure on [kvm Ready] "The Cluster's infrastructure is not provisioned yet.", wait "Wait.";
    WaitingForControlPlaneAvailable on [kvm Ready] "The Cluster's control plane is not initialized yet.", wait "Wait.";
    WaitingForBootstrapData on [kvm Ready] "The bootstrap data is not there yet.", wait "Wait. If the message names a Secret that is missing, restore it.";
    InvalidBootstrapData on [kvm Ready] "The Secret that the Machine names is not its bootstrap data.", user "Correct `spec.bootstrap` of the Machine.";
    InvalidTemplate on [kvm Ready] "The template is not a VirtualMachine that can run as a worker.", user "The message says what to write.";
    InvalidName on [kvm Ready] "The name is longer than the 63 characters that KubeVirt takes for a VirtualMachine.", user "Replace the Machine by one with a shorter name: shorten the name of its MachineDeployment.";
    NamespaceNotAllowed on [kvm Ready] "The VM may not be created in the namespace that the template names.", user "Have the namespace's owner allow it by the label that the message names.";
    VMCreateFailed on [kvm Ready] "KubeVirt refused the VirtualMachine.", user "Correct the template. The message has KubeVirt's words.";
    VMRefused on [kvm Ready] "KubeVirt accepted the VirtualMachine and cannot start it.", user "Correct the template. The message has KubeVirt's words.";
    VMNotReady on [kvm Ready] "The VM is on its way.", wait "Wait.";
    DVNotReady on [kvm Ready] "A DataVolume of the VM is being filled.", wait "Wait.";
    DVFailed on [kvm Ready] "A DataVolume of the VM failed.", user "The message has KubeVirt's words.";
    PVCNotFound on [kvm Ready] "A claim that the VM names is not there.", user "Create it, or correct the template.";
    RootDiskLost on [kvm Ready] "The instance that bootstrapped has ended, and its root disk with it. The guest cannot come back.", user "Delete the Machine, or let a MachineHealthCheck do it.";
    VMDeleted on [kvm Ready] "The VirtualMachine was removed. The guest cannot come back.", user "Delete the Machine, or let a MachineHealthCheck do it.";
    WaitingForVM on [kvm BootstrapExecSucceeded] "The VM does not run yet.", wait "Wait.";
    WaitingForNode on [kvm Ready] "The guest has not joined the workload cluster yet.", wait "Wait, or look at the guest's console.";
    NodeRegistered on [kvm BootstrapExecSucceeded] "The Node has registered.", wait "";
    NotChecked on [kvm BootstrapExecSucceeded] "The bootstrap check is off (`checkStrategy: none`).", wait "";
    ProviderIDConflict on [kvm Ready] "The kubelet has registered with another provider ID.", user "Remove `provider-id` from the kubelet's settings, and replace the Machine.";
    LiveMigratable on [kvm VMLiveMigratable] "KubeVirt can move the VM to another node.", wait "";
    NotLiveMigratable on [kvm VMLiveMigratable] "KubeVirt cannot move the VM. The reason may also be KubeVirt's own.", wait "The message has KubeVirt's words.";
    NotSupported on [kvc Ready, kvm Ready] "External infrastructure and control planes in VMs are not in this release. What there is, is left as it is.", user "Keep the provider that made it, or create the Cluster without them.";
    Draining on [kvm Event] "The Node is being drained, because the VM has to leave its node of the management cluster.", wait "";
    Evicted on [kvm Event] "The VM was stopped after its Node was drained.", wait "";

    Provisioned on [kvc Ready] "The infrastructure is provisioned.", wait "";
    WaitingForControlPlaneEndpoint on [kvc Ready] "The control plane has not published its endpoint yet.", wait "Wait, or look at the NestedControlPlane.";
}

impl Reason {
    /// The word itself.
    pub const fn as_str(self) -> &'static str {
        self.info().name
    }

    /// Whether it stays until a user does something.
    pub const fn needs_user_action(self) -> bool {
        self.info().needs_user_action
    }

    /// The reason of this name; `None` for a word of somebody else's, such as KubeVirt.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl AsRef<str> for Reason {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<Reason> for Cow<'static, str> {
    fn from(reason: Reason) -> Self {
        Self::Borrowed(reason.as_str())
    }
}

impl PartialEq<Reason> for str {
    fn eq(&self, other: &Reason) -> bool {
        self == other.as_str()
    }
}

impl PartialEq<Reason> for String {
    fn eq(&self, other: &Reason) -> bool {
        self == other.as_str()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_name_and_says_what_it_means() {
        for reason in Reason::ALL {
            assert_eq!(Reason::of(reason.as_str()), Some(*reason));
            let info = reason.info();
            assert!(info.meaning.ends_with('.') && !info.places.is_empty(), "{reason}");
            assert!(info.action.is_empty() || info.action.ends_with('.'), "{reason}");
            assert!(
                !info.needs_user_action || !info.action.is_empty(),
                "{reason} needs a user and does not say for what"
            );
        }
        assert_eq!(Reason::of("DisksNotLiveMigratable"), None);
    }
}
