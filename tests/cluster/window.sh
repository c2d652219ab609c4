#!/usr/bin/env bash
# train.window: each window is judged by what has not seen it, then trained on, once. Figures by window and baselines
# beside them; stopped or killed and gone on with in the same bits; async, bsp; and a log that nobody can know in advance.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1
rows=$(($(wc -l <"$WORK/shop/train.csv") - 1))
sed -e '/valid:/d' -e 's/^  fields:/  split: {by: window, window: 1d}\n  fields:\n    - {name: time, type: time}/' \
    -e 's/epochs: 2/window: true/' "$WORK/job.yaml" >"$WORK/w.yaml"

train() { "$PENSTOCK" train "$WORK/w.yaml" --out "$WORK/$1" "${@:2}"; }
report() { echo "$WORK/$1/report.json"; }
# windows RUN KEY: its values, a line a window
windows() { sed -n '/^  "windows"/,/^  \]/p' "$(report "$1")" | sed -n "s/^      \"$2\": *\([^,]*\),\{0,1\}$/\1/p"; }
mean() { sed -n '/^  "windows_mean"/,/^  }/p' "$(report "$1")" | sed -n "s/^    \"$2\": *\([^,]*\),\{0,1\}$/\1/p"; }
exact() {
    [ "$(json "$(report "$1")" applied)" = "$rows" ] && [ "$(json "$(report "$1")" doubled)" = 0 ] &&
        [ "$(json "$(report "$1")" skipped)" = 0 ] && [ "$(windows "$1" records | awk '{ s += $1 } END { print s }')" = "$rows" ]
}
tables() { "$PENSTOCK" snap show "$WORK/$1" | awk '$1 == "table" { on = 1; next } NF == 0 { on = 0 } on'; }
# Not the logloss, which is a sum by worker.
equal() { [ -n "$(tables "$1")" ] && [ "$(tables "$1")" = "$(tables "$2")" ] && [ "$(windows "$1" auc)" = "$(windows "$2" auc)" ]; }
same() { # same AS NAME
    check "$2: each record once" exact "$2"
    check "$2: tables and figures of $1, bit for bit" equal "$1" "$2"
}
judged() { [ "$(windows "$1" auc | head -n 1)" = null ] && [ "$(windows "$1" auc | tail -n +2 | grep -c '^0\.')" -eq $(($(windows "$1" auc | wc -l) - 1)) ]; }
baselines() { [ "$(sed -n '/^  "windows"/,/^  \]/p' "$(report "$1")" | grep -c '"item_user_mean"')" -eq $(($(windows "$1" window | wc -l) - 1)) ]; }
cut_at_least() { [ "$(ls "$WORK/$1/cuts" 2>/dev/null | sed -n 's/^\([0-9]*\)\.json$/\1/p' | sort -n | tail -n 1)" -ge "$2" ]; }

check "one worker" train one
n=$(windows one window | wc -l)
check "windows" test "$n" -ge 5
check "each record once" exact one
check "each window is judged but the first" judged one
check "baselines beside each" baselines one
check "means over windows" at_least "$(mean one auc)" .5
check "mean over windows by record" awk -v m="$(mean one logloss)" -v s="$(paste <(windows one logloss) <(windows one records) |
    awk '$1 != "null" { s += $1 * $2; n += $2 } END { printf "%.9f", s / n }')" 'BEGIN { d = m - s; exit !(d < 1e-6 && d > -1e-6) }'
check "TensorBoard has windows" grep -q "window/auc" "$WORK"/one/tensorboard/*
check "cuts verify" "$PENSTOCK" snap verify "$WORK/one"
differ() { ! equal one plain; }
check "in the order of time within a window" train plain --set train.shuffle=false
check "shuffled within a window by default" differ

# Stopped or killed in the middle of a window: cuts are frequent, and batches small.
small="--set train.batch=16 --set cluster.cut_every=10ms"
check "batches of 16" train small $small
for sig in TERM KILL; do
    name=sig-$sig
    "$PENSTOCK" train "$WORK/w.yaml" --out "$WORK/$name" $small >"$WORK/$name.log" 2>&1 &
    front=$!
    check "$sig: training" eventually 60 cut_at_least "$name" 6
    kill -$sig "$front"
    wait "$front" 2>/dev/null
    check "$sig: nothing is left" eventually 20 none_left "$WORK/$name"
    check "$sig: goes on" train "$name" $small --resume
    same small "$name"
done
check "2 x 2" train two --servers 2 --workers 2
check "2 x 2: each record once" exact two
check "2 x 2: each window is judged" judged two

bsp="--set train.consistency=bsp --set train.slices=4"
check "bsp, 1 worker" train bsp1 $bsp
"$PENSTOCK" train "$WORK/w.yaml" --out "$WORK/bsp2" $bsp --workers 2 --servers 2 --set cluster.cut_every=20ms >"$WORK/bsp2.log" 2>&1 &
front=$!
check "bsp, 2 workers: training" eventually 60 cut_at_least bsp2 3
kill -KILL "$front"
wait "$front" 2>/dev/null
check "bsp: nothing is left" eventually 20 none_left "$WORK/bsp2"
check "bsp, 4 workers go on" train bsp2 $bsp --workers 4 --resume
same bsp1 bsp2

check "ssp, 2 workers" train ssp --workers 2 --set train.consistency=ssp --set train.staleness=2
check "ssp: each record once" exact ssp
check "ssp: each window is judged" judged ssp

# Items that are new in each window, with a coin's label each, eight times: nobody knows them before, everybody after.
awk 'BEGIN { srand(5); print "y,item,t"; for (w = 0; w < 6; w++) { for (i = 0; i < 200; i++) y[i] = rand() < .5;
    for (k = 0; k < 8; k++) for (i = 0; i < 200; i++) print y[i] ",w" w "i" i "," w * 86400 + k * 1000 + i } }' >"$WORK/planted.csv"
cat >"$WORK/planted.yaml" <<YAML
data:
  root: $WORK
  train: planted.csv
  split: {by: window, window: 1d}
  fields: [{name: y, type: label}, {name: item, type: item}, {name: t, type: time}]
model: {family: lr, embedding_init: 0}
optimizer: {embedding: {rate: .5}, dense: {rate: 1e-3}}
train: {window: true, batch: 50}
YAML
check "a planted log" "$PENSTOCK" train "$WORK/planted.yaml" --out "$WORK/planted"
coin() { windows planted auc | awk 'NR > 1 && $1 != .5 { exit 1 } END { exit NR != 6 }'; }
check "judged before it is trained on: AUC .5 in each window" coin
learned() { windows planted train_auc | awk '$1 < .8 { exit 1 }'; }
check "and learned while it is: training AUC >= .8 in each" learned
after() { at_least "$("$PENSTOCK" eval "$WORK/planted.yaml" --snapshot "$WORK/planted" --data train --json | sed -n 's/^  "auc": \([0-9.]*\),/\1/p')" .99; }
check "and known after: AUC >= .99" after
check "popularity knows nothing either" at_least .5 "$(sed -n '/^  "windows_mean"/,/^  }/p' "$(report planted)" | sed -n '/"popularity"/,/}/p' | sed -n 's/.*"auc": \([0-9.]*\),/\1/p')"

refuses "windows of a log that has none" 2 "train.window: does not apply here .it applies with data.split.by=window" \
    "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/none" --set train.window=true
refuses "epochs of windows" 2 "train.epochs: does not apply here .it applies with train.window=false" \
    "$PENSTOCK" train "$WORK/w.yaml" --out "$WORK/none" --set train.epochs=2
finish
