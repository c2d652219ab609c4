#!/bin/bash
# lint.sh: every check of the house over this tree, and first the proof that each of them can fail.
# Goes on after a failure, so that one run shows everything.
set -uo pipefail
here=$(dirname "$0")
bad=()
run() {
    "$@" || bad+=("$(basename "$1")")
}
run "$here/selftest.sh"
run "$here/floors.sh"
run "$here/lists.sh"
run "$here/headers.sh"
run "$here/symbols.sh" "${BUILD:-build}"
run "$here/format.sh"
run "$here/sizes.sh"
if [ ${#bad[@]} -gt 0 ]; then
    echo "lint: failed: ${bad[*]}"
    exit 1
fi
echo "lint: clean"
