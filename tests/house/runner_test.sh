#!/bin/bash
# runner_test.sh: the runner reports each kind of bad end as a failure. This is the proof that CI can fail.
#
# It runs must_fail.c in every way it knows under tests/support/run_tests.sh and holds the runner's last line
# and exit code against what they have to be.
set -uo pipefail
: "${MUST_FAIL:?the program of tests/house/must_fail.c}"
runner=tests/support/run_tests.sh
good=0 bad=0

expect() { # name, exit code, last line, text that has to be in the output, arguments of the runner...
    local name=$1 code=$2 last=$3 text=$4 out rc=0
    shift 4
    out=$($runner --jobs 2 --grace 1 "$@" 2>&1) || rc=$?
    if [ $rc = "$code" ] && [ "$(tail -n 1 <<<"$out")" = "$last" ] && grep -qF -- "$text" <<<"$out"; then
        good=$((good + 1))
    else
        bad=$((bad + 1))
        printf '%s: exit %s, expected %s; expected last line "%s" and text "%s"; got:\n%s\n' \
            "$name" $rc "$code" "$last" "$text" "$out"
    fi
}

script() { # name, lines: a script to run
    printf '%s\n' "$2" >"$TEST_TMP/$1.sh"
    echo "script:$TEST_TMP/$1.sh"
}

expect passes 0 '2 passed, 0 failed, 1 skipped' 'skipped: is_skipped' "unit:$MUST_FAIL"
expect fails 1 '2 passed, 1 failed, 0 skipped' '0x2 != 0x3' "unit:$MUST_FAIL fail"
expect crashes 1 '1 passed, 2 failed, 0 skipped' 'killed by signal 9' "unit:$MUST_FAIL crash"
expect leaves_early 1 '1 passed, 2 failed, 0 skipped' 'FAIL' "unit:$MUST_FAIL short"
expect hangs 1 '1 passed, 2 failed, 0 skipped' 'no end within 1 s' --deadline 1 "unit:$MUST_FAIL hang"
expect litters 1 '3 passed, 1 failed, 0 skipped' 'left running' "unit:$MUST_FAIL litter"
expect one_of_two 1 '4 passed, 1 failed, 1 skipped' 'FAIL' "unit:$MUST_FAIL fail" "unit:$MUST_FAIL"
expect not_there 1 '0 passed, 1 failed, 0 skipped' 'exit 127' "unit:$TEST_TMP/nothing"
expect no_test 1 '0 passed, 1 failed, 0 skipped' 'ran no test' "unit:/bin/true"
expect nothing 1 '0 passed, 1 failed, 0 skipped' 'no test to run'
expect script_passes 0 '1 passed, 0 failed, 0 skipped' 'ok' "$(script good 'exit 0')"
expect script_fails 1 '0 passed, 1 failed, 0 skipped' 'why it failed' "$(script bad 'echo why it failed; exit 3')"
expect script_skips 0 '0 passed, 0 failed, 1 skipped' 'no network' "$(script skip 'echo no network; exit 77')"
expect script_counts 0 '4 passed, 0 failed, 2 skipped' 'ok' "$(script count 'echo 4 passed, 0 failed, 2 skipped')"
expect script_lies 1 '4 passed, 1 failed, 0 skipped' 'exit 1' "$(script lie 'echo 4 passed, 0 failed, 0 skipped; exit 1')"
expect cluster_fails 1 '0 passed, 1 failed, 0 skipped' 'FAIL' "cluster:${TEST_TMP}/bad.sh"
if ps -eo args= | awk -v program="$MUST_FAIL" 'index($0, program) == 1 { found = 1 } END { exit !found }'; then
    bad=$((bad + 1))
    echo "must_fail is still running"
else
    good=$((good + 1))
fi

echo "$good passed, $bad failed, 0 skipped"
[ $bad = 0 ]
