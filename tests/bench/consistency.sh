#!/usr/bin/env bash
# Samples a second of the modes of training beside async in the same run, and what each learns: frappe, FinalMLP, two
# servers and two workers. Ratios, not absolutes: machines are noisy. Each worker has BATCH records at a time in each
# mode, so that only waiting differs. PENSTOCK_DATA: folder that holds frappe_x1 (default ../shared/data).
#   EPOCHS=2 BATCH=2048 STALENESS=1 REPEAT=1 MODES="async hybrid" tests/bench/consistency.sh
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
data=${PENSTOCK_DATA:-$root/../shared/data}
bin=${BUILD:-$root/build}/bin/penstock
epochs=${EPOCHS:-2} batch=${BATCH:-2048} staleness=${STALENESS:-1} repeat=${REPEAT:-1}
modes=${MODES:-async hybrid ssp ssp-allreduce bsp bsp-allreduce}
[ -f "$data/frappe_x1/train.csv" ] || {
    echo "skipped: $data/frappe_x1 is not there (set PENSTOCK_DATA)"
    exit 0
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
. "$root/tests/bench/frappe_runs.sh"

step=$((2 * batch)) # of both workers
stale="--set train.staleness=$staleness"
settings() { # settings MODE
    case $1 in
    async) echo "--set train.batch=$batch $stale" ;;
    hybrid) echo "--set train.batch=$step $stale --set train.dense=allreduce" ;;
    ssp) echo "--set train.batch=$step $stale --set train.consistency=ssp" ;;
    ssp-allreduce) echo "--set train.batch=$step $stale --set train.consistency=ssp --set train.dense=allreduce" ;;
    bsp) echo "--set train.batch=$step --set train.consistency=bsp" ;;
    bsp-allreduce) echo "--set train.batch=$step --set train.consistency=bsp --set train.dense=allreduce" ;;
    *) echo "MODES: no such mode: $1" >&2 && return 1 ;;
    esac
}

printf '%-14s %12s %9s %9s %10s\n' mode samples/s "of async" AUC staleness
base=
for mode in $modes; do
    args=$(settings "$mode")
    : >"$work/figures"
    for n in $(seq "$repeat"); do # shellcheck disable=SC2086
        train "$mode-$n" --servers 2 --workers 2 --set train.epochs="$epochs" $args
        figures "$mode-$n" >>"$work/figures"
    done
    # the fastest of the repeats, the mean of the rest
    line=$(awk '{ if ($1 > rate) rate = $1; auc += $2; stale += $3 } END { print rate, auc / NR, stale / NR }' "$work/figures")
    base=${base:-${line%% *}}
    echo "$mode $line $base" | awk '{ printf "%-14s %12d %9.2f %9.5f %10.2f\n", $1, $2, $2 / $5, $3, $4 }'
done
