#!/bin/bash
# headers.sh [ROOT]: every header compiles alone, and twice in one file, under the flags of the house ($FLAGS).
#
# Alone: it includes what it uses. Twice: its guard works. $FLAGS comes from the Makefile. Headers of tests may look behind
# every door, so they also see the generated code in $BUILD.
set -euo pipefail
cd "${1:-.}"
: "${FLAGS:=-std=gnu11 -D_GNU_SOURCE= -I. -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Werror}"
export FLAGS CC=${CC:-gcc} BUILD=${BUILD:-build}

one() {
    local door=()
    case $1 in tests/*) door=(-isystem "$BUILD/gen") ;; esac
    printf '#include "%s"\n#include "%s"\n' "$1" "$1" | $CC $FLAGS "${door[@]}" -fsyntax-only -x c - 2>&1 && return 0
    echo "$1: does not compile alone"
    return 1
}
export -f one

mapfile -t headers < <(find {common,ps,worker,launch,tests}/ -name '*.h' 2>/dev/null | sort)
if [ ${#headers[@]} = 0 ]; then
    echo "headers: none found"
    exit 1
fi
# xargs ends with 123 if one of them failed.
printf '%s\0' "${headers[@]}" | xargs -0 -P "$(nproc)" -I{} bash -c 'one "$1"' _ {} || exit 1
echo "headers: ${#headers[@]} compile alone"
