#!/usr/bin/env bash
# train.consistency: bsp. With the same slices 1, 2 and 4 workers learn the same bits: with cuts in between, stopped or
# killed and gone on with other numbers of workers, servers, shards. MLP, batch norm, dropout, Adam with exact L2.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1
rows=$(($(wc -l <"$WORK/shop/train.csv") - 1))
# 4 slices of a step; the last step of an epoch is a short one, and no multiple of 4
sets="--set train.consistency=bsp --set train.slices=4 --set model.batch_norm=true"

train() { "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$1" $sets "${@:2}"; }
tables() { "$PENSTOCK" snap show "$WORK/$1" | awk '$1 == "table" { on = 1; next } NF == 0 { on = 0 } on'; }
equal() { [ -n "$(tables "$1")" ] && [ "$(tables "$1")" = "$(tables "$2")" ]; }
aucs() { "$PENSTOCK" snap show "$WORK/$1" | grep '^recipe' | grep -o '"auc": [0-9.]*'; }
equal_auc() { [ -n "$(aucs "$1")" ] && [ "$(aucs "$1")" = "$(aucs "$2")" ]; }
exact() {
    r=$WORK/$1/report.json
    [ "$(json "$r" applied)" = $((rows * 2)) ] && [ "$(json "$r" doubled)" = 0 ] && [ "$(json "$r" skipped)" = 0 ] &&
        [ "$(json "$r" consistency)" = bsp ]
}
same() { # same NAME: as with one worker, in every bit
    check "$1: each record once" exact "$1"
    check "$1: equal tables" equal w1 "$1"
    check "$1: equal AUC of each epoch" equal_auc w1 "$1"
}
cut_at_least() { [ "$(ls "$WORK/$1/cuts" 2>/dev/null | grep -c '\.json$')" -ge "$2" ]; }

check "1 worker" train w1 --workers 1 --shards 3
check "1 worker: each record once" exact w1
check "2 workers" train w2 --workers 2 --shards 3
same w2
check "4 workers" train w4 --workers 4 --shards 3
same w4
check "4 workers, 2 servers, a cut each 50 ms" train cuts --workers 4 --servers 2 --shards 2 --set cluster.cut_every=50ms
same cuts
check "more than the cuts of epochs were made" at_least "$(json "$WORK/cuts/report.json" version)" 3
differ() { ! equal w1 other; }
check "8 slices" train other --workers 2 --shards 3 --set train.slices=8
check "another number of slices, other bits" differ

# Stopped, or killed, in the middle of an epoch; another number of workers goes on.
for sig in TERM KILL; do
    name=sig-$sig
    "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$name" $sets --workers 2 --shards 3 --set cluster.cut_every=50ms \
        >"$WORK/$name.log" 2>&1 &
    front=$!
    check "$sig: training" eventually 60 cut_at_least "$name" 1
    kill -$sig "$front"
    wait "$front" 2>/dev/null
    check "$sig: nothing is left" eventually 20 none_left "$WORK/$name"
    check "$sig: 4 workers go on" train "$name" --workers 4 --servers 2 --shards 4 --resume
    same "$name"
done

# A next-item model, whose negatives are drawn by slice.
awk 'BEGIN { srand(4); for (u = 0; u < 200; u++) for (n = 4 + int(rand() * 12); n > 0; n--) print "u" u, "i" int(rand() * 60) }' >"$WORK/log"
cat >"$WORK/next.yaml" <<YAML
data:
  root: $WORK
  train: log
  delimiter: " "
  header: false
  records: sequences
  fields: [{name: user, type: user}, {name: item, type: item}]
  sequence: {max: 20}
model: {family: sasrec, embedding: 16, dropout: .1, loss: sampled, negatives: 20}
train: {epochs: 2, batch: 50, consistency: bsp, slices: 4}
YAML
for n in 1 2 4; do
    check "next item, $n workers" "$PENSTOCK" train "$WORK/next.yaml" --out "$WORK/next$n" --workers $n --shards 2
    check "next item, $n workers: equal tables" equal next1 next$n
done
finish
