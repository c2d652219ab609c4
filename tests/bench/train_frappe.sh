#!/usr/bin/env bash
# Samples a second of whole training runs, the parameter servers in the path: one worker and 2 x 2, for each
# family; PyTorch on the same data in the same run where python3-torch is installed. Ratios, not absolutes:
# machines are noisy. DATA: folder that holds frappe_x1 (default ../shared/data).
#   EPOCHS=2 FAMILIES="dcnv2 mlp" tests/bench/train_frappe.sh
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
data=${PENSTOCK_DATA:-$root/../shared/data}
bin=${BUILD:-$root/build}/bin/penstock
epochs=${EPOCHS:-2}
[ -f "$data/frappe_x1/train.csv" ] || {
    echo "skipped: $data/frappe_x1 is not there (set PENSTOCK_DATA)"
    exit 0
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

rate() { sed -n 's/^ *"samples_per_second": \([0-9]*\).*/\1/p' "$1/report.json" | head -n 1; }
run() { # run NAME args...
    name=$1
    shift
    "$bin" train "$root/launch/jobs/frappe.yaml" --set data.root="$data" --set data.cache="$work/cache" \
        --set train.epochs="$epochs" --out "$work/$name" "$@" >"$work/$name.log" 2>&1 || {
        tail "$work/$name.log"
        exit 1
    }
    echo "penstock $name: $(rate "$work/$name") samples/s, evaluation and cuts included"
}

# beside_torch FAMILY: PyTorch's lines, and what penstock's run is of the best of them.
beside_torch() {
    OPENBLAS_NUM_THREADS=1 "$python3" "$root/tests/bench/torch_frappe.py" "$data" "$epochs" "$1" 1 | tee "$work/torch"
    sed -n 's/.*: \([0-9]*\) samples\/s.*/\1/p' "$work/torch" | sort -n | tail -n 1 |
        awk -v ours="$(rate "$work/$1-1x1")" -v family="$1" '{
            printf "%s: one worker and one server are %.2f times PyTorch on one core, whose rate is of training alone\n", family, ours / $1 }'
}

python3=/usr/bin/python3
if ! "$python3" -c 'import torch' 2>/dev/null; then
    python3=
    echo "python3-torch is not installed: no baseline beside"
fi
for family in ${FAMILIES:-dcnv2 mlp fm lr}; do
    run "$family-1x1" --set model.family="$family"
    run "$family-2x2" --set model.family="$family" --servers 2 --workers 2 --set train.batch=2048
    case $family in dcnv2 | mlp) [ -z "$python3" ] || beside_torch "$family" ;; esac
done
