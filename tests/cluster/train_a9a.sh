#!/usr/bin/env bash
# Logistic regression on real logs, end to end: one worker, then 2 servers x 2 workers; every record counted once.
. "$(dirname "$0")/../support/cluster.sh"
[ -f "$DATA/a9a/a9a.train.libsvm" ] || {
    echo "skipped: $DATA/a9a is not there (set PENSTOCK_DATA)"
    exit 77
}

train() { "$PENSTOCK" train "$ROOT/launch/jobs/a9a.yaml" --set data.root="$DATA" --out "$WORK/$1" "${@:2}"; }
exact() {
    r=$WORK/$1/report.json
    [ "$(json "$r" applied)" = $((32561 * 20)) ] && [ "$(json "$r" doubled)" = 0 ] &&
        [ "$(json "$r" skipped)" = 0 ] && [ "$(json "$r" bad)" = 0 ]
}
good() { at_least "$(sed -n '/"test"/,/}/p' "$WORK/$1/report.json" | sed -n 's/.*"auc": \([0-9.]*\).*/\1/p' | head -n 1)" .902; }

check "one worker trains" train one
check "one worker: each record once" exact one
check "one worker: test AUC >= .902" good one
check "one worker: no process left" none_left "$WORK/one"
check "2 servers x 2 workers train" train two --servers 2 --workers 2 --shards 4 --set train.batch=256
check "2 x 2: each record once" exact two
check "2 x 2: test AUC >= .902" good two
check "2 x 2: no process left" none_left "$WORK/two"
check "every cut verifies" "$PENSTOCK" snap verify "$WORK/two"
check "status of an ended run" "$PENSTOCK" status "$WORK/two"
finish
