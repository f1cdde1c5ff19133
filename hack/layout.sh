# The release layout that clusterctl reads: one folder a provider.
# shellcheck shell=bash

# The manager's image, without its tag.
CAPN_IMAGE=${CAPN_IMAGE:-ghcr.io/cluster-api-provider-nested/manager}

# release_layout KUBECTL VERSION FOLDER: writes both providers' folders, each replaced as a whole, and prints them
release_layout() {
  provider_layout "$@" control-plane-nested nested control-plane-components.yaml metadata.yaml
  provider_layout "$@" infrastructure-kubevirt kubevirt infrastructure-components.yaml metadata-kubevirt.yaml
}

# provider_layout KUBECTL VERSION FOLDER NAME OVERLAY COMPONENTS METADATA
provider_layout() {
  local kubectl=$1 version=$2 parent=$3/$4 overlay=$5 components=$6 metadata=$7 config new
  config=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../config
  mkdir -p "$parent"
  new=$(mktemp -d "$parent/.new.XXXXXX")
  {
    "$kubectl" kustomize "$config/$overlay" | sed "s|ghcr.io/cluster-api-provider-nested/manager:v1.0.0|$CAPN_IMAGE:$version|"
    echo ---
    "$kubectl" kustomize "$config/admission/$overlay"
  } >"$new/$components"
  cp "$config/$metadata" "$new/metadata.yaml"
  if [[ $overlay == kubevirt ]]; then cp "$config"/../templates/cluster-template*.yaml "$new/"; fi
  chmod 755 "$new"
  rm -rf "${parent:?}/$version"
  mv "$new" "$parent/$version"
  echo "$parent/$version"
}
