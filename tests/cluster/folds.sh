#!/usr/bin/env bash
# Cross-validation: penstock train --folds K, each user in exactly one test, and going on where it was stopped.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 30000 || exit 1
# All of the shop's log is folded: no file of its own for valid.
sed -i '/^  valid:/d' "$WORK/job.yaml"
folds() { "$PENSTOCK" train "$WORK/job.yaml" --folds 3 --out "$WORK/cv" --workers 2 "$@"; }
refused() { # refused WORDS flags...
    "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/no" "${@:2}" >"$WORK/refused.log" 2>&1
    [ $? = 2 ] && grep -q -- "$1" "$WORK/refused.log"
}
tests_in() { sed -n '/"test"/,/}/p' "$WORK/cv/fold-$1/report.json" | sed -n 's/.*"records": \([0-9]*\).*/\1/p' | head -n 1; }
rows() { grep -c . "$WORK/shop/train.csv"; }
whole() { [ $(($(tests_in 0) + $(tests_in 1) + $(tests_in 2))) = $(($(rows) - 1)) ]; }
mean() { sed -n '/^  "test"/,/^  }/p' "$WORK/cv/report.json" | sed -n '/"auc"/,/}/p' | sed -n "s/.*\"$1\": *\([0-9.e-]*\).*/\1/p" | head -n 1; }

check "three folds" folds
check "each record is in one test" whole
check "their mean is better than chance" at_least "$(mean mean)" .55
check "their deviation is small" at_least .05 "$(mean sd)"
check "a second time is refused" refused 'holds a run already' --folds 3 --out "$WORK/cv"
rm -r "$WORK/cv/fold-2" "$WORK/cv/report.json"
before=$(stat -c %Y.%i "$WORK/cv/fold-1/report.json")
check "--resume runs what isn't done" folds --resume
check "and nothing that is" test "$before" = "$(stat -c %Y.%i "$WORK/cv/fold-1/report.json")"
check "the report is there again" whole
check "--folds 1 is refused" refused 'not between 2' --folds 1
finish
