#!/usr/bin/env bash
# Removes the demo; what was built stays in the cache.
set -euo pipefail
CAPN_LAB=${CAPN_LAB:-demo} exec "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/../infrastructure/lab/lab" down
