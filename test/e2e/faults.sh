# Faults that only a running cluster shows: each becomes a condition with a reason and an Event, and heals once its
# cause is mended. Every fault has a control plane or a machine of its own; all run at once.
# shellcheck shell=bash

FAULTY_CONTROL_PLANES=(wrong-image wrong-flag no-class no-volume no-priority overlap wrong-key no-key)
FAULTY_MACHINES=(no-bootstrap refused nowhere)

# Cluster API's webhooks may be away for a moment where the machine is busy: what they stand before is tried again.
patiently() { wait_for 300 "$1" kubectl -n "$NAMESPACE" "${@:2}"; }

# control_plane NAME SPEC [SERVICES]: a tenant whose control plane has these fields beside its version
control_plane() {
  local file
  file=$(dirname "$KUBECONFIG")/$1.yaml
  cat >"$file" <<YAML
apiVersion: cluster.x-k8s.io/v1beta2
kind: Cluster
metadata: {name: $1}
spec:
  clusterNetwork: {pods: {cidrBlocks: [10.243.0.0/16]}, services: {cidrBlocks: [${3:-10.95.0.0/16}]}}
  controlPlaneRef: {apiGroup: controlplane.cluster.x-k8s.io, kind: NestedControlPlane, name: $1}
---
apiVersion: controlplane.cluster.x-k8s.io/v1alpha1
kind: NestedControlPlane
metadata: {name: $1}
spec: $(jq -c --arg version "$KUBERNETES_VERSION" '.version = $version' <<<"$2")
YAML
  patiently "Cluster $1 to be accepted" apply -f "$file"
}

# authority NAME KEY-FILE CERTIFICATE-FILE: a CA Secret of a user
authority() {
  kubectl -n "$NAMESPACE" create secret generic "$1-ca" --type cluster.x-k8s.io/secret --save-config --dry-run=client -o yaml \
    --from-file=tls.crt="$3" ${2:+--from-file=tls.key="$2"} |
    kubectl label --local -f - -o yaml cluster.x-k8s.io/cluster-name="$1" | quiet kubectl apply -f -
}

# machine NAME BOOTSTRAP-SECRET VM-SPEC: a Machine of the tenant
machine() {
  local file
  file=$(dirname "$KUBECONFIG")/$1.yaml
  cat >"$file" <<YAML
apiVersion: cluster.x-k8s.io/v1beta2
kind: Machine
metadata: {name: $1}
spec:
  clusterName: $CLUSTER
  version: $KUBERNETES_VERSION
  bootstrap: {dataSecretName: $2}
  infrastructureRef: {apiGroup: infrastructure.cluster.x-k8s.io, kind: KubevirtMachine, name: $1}
---
apiVersion: infrastructure.cluster.x-k8s.io/v1alpha1
kind: KubevirtMachine
metadata: {name: $1, labels: {cluster.x-k8s.io/cluster-name: $CLUSTER}}
spec:
  virtualMachineBootstrapCheck: {checkStrategy: none}
  virtualMachineTemplate: {metadata: {namespace: $VM_NAMESPACE}, spec: $3}
YAML
  patiently "Machine $1 to be accepted" apply -f "$file"
}

# vm_spec [NODE-SELECTOR]: a small VM, as JSON; its image is the workers'
vm_spec() {
  local image
  image=$(kubectl -n "$NAMESPACE" get kubevirtmachines -l cluster.x-k8s.io/deployment-name -o json |
    jq -r '.items[0].spec.virtualMachineTemplate.spec.template.spec.volumes[0].containerDisk.image')
  jq -cn --arg image "$image" --argjson selector "${1:-{\}}" '{runStrategy: "Always", template: {spec: {
    nodeSelector: $selector,
    domain: {memory: {guest: "512Mi"}, devices: {disks: [{name: "root", disk: {bus: "virtio"}}], interfaces: [{name: "default", bridge: {}}]}},
    networks: [{name: "default", pod: {}}],
    volumes: [{name: "root", containerDisk: {image: $image}}]}}}'
}

bootstrap_secret() {
  kubectl -n "$NAMESPACE" create secret generic "$1" --type cluster.x-k8s.io/secret --from-literal=value='#cloud-config' --dry-run=client -o yaml |
    kubectl label --local -f - -o yaml cluster.x-k8s.io/cluster-name="$CLUSTER" | quiet kubectl apply -f -
}

# reported KIND NAME CONDITION REASON: the condition is False for this reason, and an Event of a user's kind says so
reported() {
  local state
  state=$(kubectl -n "$NAMESPACE" get "$1" "$2" -o json |
    jq -r --arg type "$3" '.status.conditions[]? | select(.type == $type) | "\(.status) \(.reason) \(.message | length > 0)"')
  [[ $state == "False $4 true" ]] || { printf '%s says: %s\n' "$2" "$state"; return 1; }
  kubectl -n "$NAMESPACE" get events -o json | jq -e --arg name "$2" --arg reason "$4" '.items[]
    | select(.involvedObject.name == $name and .type == "Warning" and .reason == $reason and (.message | length) > 0)' >/dev/null
}

# holds KIND NAME CONDITION
holds() {
  [[ $(kubectl -n "$NAMESPACE" get "$1" "$2" -o json |
    jq -r --arg type "$3" '.status.conditions[]? | select(.type == $type) | .status') == True ]]
}

control_planes_with_faults() {
  local folder management
  folder=$(dirname "$KUBECONFIG")/faults
  mkdir -p "$folder"
  for name in one other; do
    quiet openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=kubernetes -keyout "$folder/$name.key" -out "$folder/$name.crt" \
      -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign,digitalSignature
  done
  management=$(kubectl get service kubernetes -o jsonpath='{.spec.clusterIP}')
  control_plane wrong-image '{"apiServer": {"image": "registry.example/nothing:v1"}}'
  control_plane wrong-flag '{"apiServer": {"extraArgs": [{"name": "no-such-flag", "value": "1"}]}}'
  control_plane no-class '{"datastore": {"etcd": {"storage": {"size": "1Gi", "storageClassName": "not-yet"}}}}'
  control_plane no-volume '{"apiServer": {"extraVolumes": [{"name": "audit", "mountPath": "/audit", "configMap": {"name": "not-yet"}}]}}'
  control_plane no-priority '{"podTemplate": {"priorityClassName": "not-there"}}'
  control_plane overlap '{}' "${management%.*.*}.0.0/16"
  authority wrong-key "$folder/other.key" "$folder/one.crt"
  control_plane wrong-key '{}'
  authority no-key "" "$folder/one.crt"
  control_plane no-key '{}'
  wait_for 120 "the image to be reported" reported nestedcontrolplane wrong-image Available ImagePullFailed
  wait_for 120 "the flag to be reported" reported nestedcontrolplane wrong-flag Available CrashLoopBackOff
  wait_for 120 "the StorageClass to be reported" reported nestedcontrolplane no-class Available NoStorageClass
  wait_for 120 "the volume to be reported" reported nestedcontrolplane no-volume Available ContainerNotCreated
  wait_for 120 "the PriorityClass to be reported" reported nestedcontrolplane no-priority Available FailedCreate
  wait_for 120 "the addresses to be reported" reported nestedcontrolplane overlap Available Invalid
  wait_for 120 "the wrong key to be reported" reported nestedcontrolplane wrong-key CertificatesValid SecretInvalid
  wait_for 120 "the missing key to be reported" reported nestedcontrolplane no-key CertificatesValid SecretInvalid
}

control_planes_heal() {
  local folder
  folder=$(dirname "$KUBECONFIG")/faults
  quiet kubectl -n "$NAMESPACE" patch nestedcontrolplane wrong-image --type merge -p '{"spec": {"apiServer": {"image": null}}}'
  quiet kubectl -n "$NAMESPACE" patch nestedcontrolplane wrong-flag --type merge -p '{"spec": {"apiServer": {"extraArgs": null}}}'
  kubectl get storageclass -o json | jq '.items[0] | .metadata = {name: "not-yet"}' | quiet kubectl apply -f -
  quiet kubectl -n "$NAMESPACE" create configmap not-yet
  quiet kubectl -n "$NAMESPACE" patch nestedcontrolplane no-priority --type merge -p '{"spec": {"podTemplate": {"priorityClassName": null}}}'
  patiently "Cluster overlap to be changed" patch cluster overlap --type merge -p '{"spec": {"clusterNetwork": {"services": {"cidrBlocks": ["10.95.0.0/16"]}}}}'
  authority wrong-key "$folder/one.key" "$folder/one.crt"
  authority no-key "$folder/one.key" "$folder/one.crt"
  for name in "${FAULTY_CONTROL_PLANES[@]}"; do
    wait_for 240 "$name to heal" holds nestedcontrolplane "$name" Available
  done
  # An authority that is in use is not replaced.
  authority wrong-key "$folder/other.key" "$folder/other.crt"
  wait_for 120 "the other authority to be reported" reported nestedcontrolplane wrong-key CertificatesValid AuthorityChanged
  authority wrong-key "$folder/one.key" "$folder/one.crt"
  wait_for 120 "the authority to be valid again" holds nestedcontrolplane wrong-key CertificatesValid
  # A user's Secret is used as it is.
  diff <(kubectl -n "$NAMESPACE" get secret wrong-key-ca -o jsonpath='{.data.tls\.crt}' | base64 -d) "$folder/one.crt"
  patiently "the Clusters to be deleted" delete cluster "${FAULTY_CONTROL_PLANES[@]}" --ignore-not-found --timeout 300s
  quiet kubectl -n "$NAMESPACE" delete secret wrong-key-ca no-key-ca
  quiet kubectl -n "$NAMESPACE" delete configmap not-yet
  quiet kubectl delete storageclass not-yet
}

machines_with_faults() {
  machine no-bootstrap no-bootstrap-data "$(vm_spec)"
  bootstrap_secret refused
  # KubeVirt refuses a volume that no disk of the guest can be.
  machine refused refused "$(vm_spec | jq -c '.template.spec.domain.devices.disks[0].name = "nothing"')"
  bootstrap_secret nowhere
  machine nowhere nowhere "$(vm_spec '{"zone": "moon"}')"
  wait_for 120 "the missing bootstrap Secret to be reported" reported kubevirtmachine no-bootstrap Ready WaitingForBootstrapData
  wait_for 120 "the refused VM to be reported" reported kubevirtmachine refused Ready VMCreateFailed
  wait_for 120 "the VM without a place to be reported" reported kubevirtmachine nowhere Ready Unschedulable
}

machines_heal() {
  bootstrap_secret no-bootstrap-data
  quiet kubectl -n "$NAMESPACE" patch kubevirtmachine refused --type merge -p "{\"spec\": {\"virtualMachineTemplate\": {\"spec\": $(vm_spec)}}}"
  quiet kubectl label nodes --all zone=moon
  for name in "${FAULTY_MACHINES[@]}"; do
    wait_for 240 "$name to heal" holds kubevirtmachine "$name" Ready
  done
  quiet kubectl label nodes --all zone-
  patiently "the Machines to be deleted" delete machine "${FAULTY_MACHINES[@]}" --ignore-not-found --timeout 300s
  quiet kubectl -n "$NAMESPACE" delete secret no-bootstrap-data refused nowhere
}
