#!/usr/bin/env bash
# What a run shows beside its line and its report: TensorBoard's event files, and /metrics while it runs.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 60000 || exit 1
out=$WORK/run

get() { # get PATH [METHOD] [HEADER]: the answer, by bash alone
    url=$(cat "$out/metrics")
    address=${url#http://}
    address=${address%%/*}
    exec 9<>"/dev/tcp/${address%:*}/${address##*:}" || return 1
    printf '%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n' "${2:-GET}" "$1" "$address" "${3:-}" >&9
    cat <&9
    exec 9>&-
}
answers() { get "$1" "${3:-GET}" "${4:-}" | head -n 1 | grep -q " $2 "; }
page() { get /metrics | sed '1,/^\r*$/d' >"$WORK/page"; }
running() { page && awk '$1 == "penstock_pushes_total" && $2 > 0 { found = 1 } END { exit !found }' "$WORK/page"; }
value() { awk -v n="$1" '$1 == n { print $2 }' "$WORK/page"; }
# Without promtool: each sample belongs to the metric before it, which has HELP and TYPE; counters end in _total.
well_formed() {
    awk '
        /^# HELP / { help = $3; next }
        /^# TYPE / { if ($3 != help || seen[$3]++) bad = 1; type = $4; if ((type == "counter") != ($3 ~ /_total$/)) bad = 1; next }
        { name = $1; sub(/\{.*/, "", name); if (name != help || NF < 2) { print; bad = 1 } n++ }
        END { exit bad || n < 20 }' "$WORK/page"
}

"$PENSTOCK" train "$WORK/job.yaml" --out "$out" --workers 2 --set train.epochs=2000 --set train.plateau.patience=0 \
    --set cluster.metrics=0 >"$WORK/train.log" 2>&1 &
front=$!
check "/metrics of a running job" eventually 30 running
check "its page is well formed" well_formed
if command -v promtool >/dev/null 2>&1; then
    check "promtool check metrics" promtool check metrics <"$WORK/page"
else
    skip "promtool check metrics: no promtool here"
fi
check "both workers are up" test "$(value penstock_workers_up)" = 2
check "nothing doubled" test "$(value penstock_records_doubled_total)" = 0
check "another path: 404" answers /other 404
check "POST: 405" answers /metrics 405 POST
check "a body: 400" answers /metrics 400 GET $'Content-Length: 3\r\n\r\nabc'
check "loopback unless named" grep -q '^http://127\.0\.0\.1:' "$out/metrics"
if command -v python3 >/dev/null 2>&1; then # a run of this size may be over before its second point
    sampled() { python3 "$ROOT/tests/support/tfevents.py" "$out/tensorboard" | grep -q '^step/samples_per_second'; }
    check "TensorBoard's points while it runs" eventually 30 sampled
fi
kill -TERM $front
wait $front
check "the page goes with the run" test ! -e "$out/metrics"
check "stopped at a cut" grep -q 'stopped at cut' "$WORK/train.log"

"$PENSTOCK" train "$WORK/job.yaml" --out "$out" --workers 2 --set train.epochs=1 --resume >"$WORK/resume.log" 2>&1
short() { "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/short" --workers 2; }
check "a short run" short
if command -v python3 >/dev/null 2>&1; then
    read_board() { python3 "$ROOT/tests/support/tfevents.py" "$1/tensorboard" >"$WORK/events"; }
    tagged() { [ "$(awk -v t="$1" '$1 == t' "$WORK/events" | wc -l)" -ge "$2" ]; }
    check "event files: framing and checksums" read_board "$WORK/short"
    for tag in train_loss train_auc valid_auc valid_logloss rate_embedding; do check "epoch/$tag, twice" tagged epoch/$tag 2; done
    # The report's figure is the same one, as a float.
    valid() { awk '$1 == "epoch/valid_auc" { a = $3 > a ? $3 : a } END { print a }' "$WORK/events"; }
    reported() { sed -n '/"valid"/,/}/p' "$WORK/short/report.json" | sed -n 's/.*"auc": \([0-9.]*\).*/\1/p' | head -n 1; }
    check "epoch/valid_auc is the report's" awk -v a="$(valid)" -v b="$(reported)" 'BEGIN { exit !(a - b < .002 && b - a < .002) }'
    check "a longer run, stopped" read_board "$out"
    for tag in loss auc samples_per_second staleness_mean rate_embedding; do check "step/$tag" tagged step/$tag 1; done
else
    skip "event files: no python3 here"
fi
refused() {
    "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/no" --set cluster.metrics="$1" >"$WORK/refused.log" 2>&1
    [ $? = 2 ] && grep -q 'cluster.metrics' "$WORK/refused.log"
}
for wrong in 70000 host:80 :x 1.2.3.4.5:1; do check "cluster.metrics=$wrong is refused" refused "$wrong"; done
finish
