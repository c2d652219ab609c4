#!/usr/bin/env bash
# What staleness costs and buys: frappe, FinalMLP, two servers and two workers, at staleness 0 1 2 4 8, over seeds 1 to N.
# Each line: mean valid AUC of the best epochs, its difference to one worker of the same seeds, staleness as the servers
# measured it (steps between pull and push), samples a second. Each worker has BATCH records at a time.
#   tests/bench/staleness.sh 3                    async, three seeds; whole runs, so this takes hours
#   MODES="async ssp" STALENESS="0 2" EPOCHS=4 tests/bench/staleness.sh 1
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
data=${PENSTOCK_DATA:-$root/../shared/data}
bin=${BUILD:-$root/build}/bin/penstock
seeds=${1:-3} batch=${BATCH:-2048} epochs=${EPOCHS:-60}
[ -f "$data/frappe_x1/train.csv" ] || {
    echo "skipped: $data/frappe_x1 is not there (set PENSTOCK_DATA)"
    exit 0
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$root/tests/bench/frappe_runs.sh"

# row NAME ONE args...: over all seeds; ONE: the mean AUC of one worker, or "".
row() {
    name=$1 one=$2
    shift 2
    : >"$work/figures"
    for seed in $(seq "$seeds"); do
        train "$name-$seed" --set train.seed="$seed" --set train.epochs="$epochs" "$@"
        figures "$name-$seed" >>"$work/figures"
    done
    auc=$(awk '{ sum += $2 } END { printf "%.9f", sum / NR }' "$work/figures")
    awk -v name="$name" -v one="${one:-$auc}" '{ rate += $1; auc += $2; stale += $3 } END {
        printf "%-14s %9.5f %+12.5f %10.2f %12d\n", name, auc / NR, auc / NR - one + 5e-9, stale / NR, rate / NR }' "$work/figures"
}

printf '%-14s %9s %12s %10s %12s\n' mode AUC "to 1 worker" staleness samples/s
row one-worker "" --set train.batch=$((2 * batch))
one=$auc
for mode in ${MODES:-async}; do
    case $mode in
    async) records=$batch ;;
    ssp) records=$((2 * batch)) ;; # of both workers
    *) echo "MODES: async or ssp, not $mode" >&2 && exit 2 ;;
    esac
    for s in ${STALENESS:-0 1 2 4 8}; do
        row "$mode-$s" "$one" --servers 2 --workers 2 --set train.consistency="$mode" --set train.batch="$records" \
            --set train.staleness="$s"
    done
done
