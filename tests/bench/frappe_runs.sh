# frappe_runs.sh - a run of frappe with FinalMLP and what came out of it; sourced by benches that set root, data, bin, work.

# train NAME args...: into $work/NAME.
train() {
    run=$1
    shift
    "$bin" train "$root/launch/jobs/frappe.yaml" --set data.root="$data" --set data.cache="$work/cache" \
        --set model.family=finalmlp --set model.hidden='[400]' --set model.second.hidden='[100]' \
        --set model.second.dropout=.4 --set model.finalmlp.heads=5 --set optimizer.embedding.l2=.1 \
        --out "$work/$run" "$@" >"$work/$run.log" 2>&1 || {
        tail "$work/$run.log" >&2
        return 1
    }
}

# number FILE KEY [SECTION]: the first "KEY": number in a report, or the first one of "SECTION": {.
number() {
    awk -v key="\"$2\":" -v section="${3:+\"$3\": \{}" '
        section == "" || $0 ~ section { on = 1 }
        on && $1 == key { sub(",", "", $2); print $2; exit }' "$1"
}

# figures NAME: samples a second, the best epoch's valid AUC, mean measured staleness.
figures() {
    report=$work/$1/report.json
    echo "$(number "$report" samples_per_second) $(number "$report" auc valid) $(number "$report" mean staleness)"
}
