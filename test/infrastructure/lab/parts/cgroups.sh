# The lab's own cgroups, one folder in every hierarchy: <hierarchy>/capn-lab/<name>, with `ground` for what is no pod.
# shellcheck shell=bash

hierarchies() { findmnt --raw --noheadings --output TARGET,FSTYPE --types cgroup,cgroup2; }

make_cgroups() {
  local target type level
  while read -r target type; do
    for level in capn-lab "capn-lab/$CAPN_LAB" "capn-lab/$CAPN_LAB/ground"; do
      if [[ $type == cgroup2 ]]; then
        hand_down "$(dirname "$target/$level")"
      fi
      mkdir -p "$target/$level"
      if [[ -e $target/$level/cpuset.mems ]]; then
        hand_cpus "$target/$level"
      fi
    done
  done < <(hierarchies)
}

# cgroup v2: a folder has the controllers that its parent hands down, each enabled by itself because some may not be.
hand_down() { # FOLDER
  local controller
  local -a controllers
  read -ra controllers <"$1/cgroup.controllers"
  for controller in "${controllers[@]}"; do
    echo "+$controller" 2>/dev/null >"$1/cgroup.subtree_control" || true
  done
}

# cgroup v1: a new cpuset is empty, and nothing may enter it.
hand_cpus() { # FOLDER
  local file parent
  parent=$(dirname "$1")
  for file in cpuset.cpus cpuset.mems; do
    [[ -e $1/$file && -z $(cat "$1/$file") ]] || continue
    cat "$parent/$file" >"$1/$file"
  done
}

# Moves the calling shell, not a child of it.
enter_cgroups() {
  local target
  while read -r target _; do
    echo "$BASHPID" >"$target/capn-lab/$CAPN_LAB/ground/cgroup.procs"
  done < <(hierarchies)
}

cgroup_processes() {
  local target
  while read -r target _; do
    [[ ! -d $target/capn-lab/$CAPN_LAB ]] || find "$target/capn-lab/$CAPN_LAB" -name cgroup.procs -exec cat {} + 2>/dev/null
  done < <(hierarchies) | sort -un
}

no_cgroup_processes() { [[ -z $(cgroup_processes) ]]; }

remove_cgroups() {
  local target
  while read -r target _; do
    [[ ! -d $target/capn-lab/$CAPN_LAB ]] || find "$target/capn-lab/$CAPN_LAB" -depth -type d -exec rmdir {} + || return 1
    [[ ! -d $target/capn-lab ]] || rmdir --ignore-fail-on-non-empty "$target/capn-lab"
  done < <(hierarchies)
}
