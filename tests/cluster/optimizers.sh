#!/usr/bin/env bash
# Optimizers with states of different sizes in one run: cut, resume, another number of shards, and what is refused.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1
sed -i -e 's/^model:.*/model: {family: fm, embedding: 8, embedding_init: .01}/' -e '/^  embedding: {kind: adam/d' \
    -e 's/^optimizer:.*/&\n  embedding: {kind: amsgrad, l2: 1e-4}\n  dense: {kind: nesterov, rate: .01}\n  tables:\n    - {name: linear, kind: ftrl, rate: .1, l2: 0, l1: .01}/' \
    "$WORK/job.yaml"
sed -e 's/name: linear/name: lienar/' "$WORK/job.yaml" >"$WORK/typo.yaml"
sed -e 's/kind: ftrl, rate: .1, l2: 0, l1: .01/kind: adagrad/' "$WORK/job.yaml" >"$WORK/other.yaml"

train() { "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$1" "${@:2}"; }
newest() { ls "$WORK/$1/cuts" | sed -n 's/^\([0-9]*\)\.json$/\1/p' | sort -n | tail -n 1; }
equal_newest() { "$PENSTOCK" snap diff "$WORK/$1@$(newest "$1")" "$WORK/$2@$(newest "$2")"; }
trained() { at_least "$(json "$WORK/$1/report.json" auc)" .52; }

check "two epochs: ftrl, amsgrad, nesterov" train whole --shards 4 --set cluster.cut_every=1h
check "they learn" trained whole
check "a cut each 100 ms" train cuts --shards 4 --set cluster.cut_every=100ms
check "a run with cuts = a run without" equal_newest whole cuts
check "every cut verifies" "$PENSTOCK" snap verify "$WORK/cuts"
check "one epoch" train half --shards 4 --set cluster.cut_every=1h --set train.epochs=1
cp -r "$WORK/half" "$WORK/half3"
cp -r "$WORK/half" "$WORK/changed"
check "resume for the second" train half --shards 4 --resume --set cluster.cut_every=1h
check "1 + 1 epochs = 2 epochs" equal_newest whole half
check "resume on 3 shards" train half3 --shards 3 --resume --set cluster.cut_every=1h
check "4 -> 3 shards: equal tables" equal_newest whole half3

refuses "resume: a table's other optimizer" 2 "optimizer.tables\[0\] was name: linear, kind: ftrl, .* and is name: linear, kind: adagrad" \
    "$PENSTOCK" train "$WORK/other.yaml" --out "$WORK/changed" --resume
refuses "resume: another optimizer" 2 "optimizer.embedding.kind was amsgrad and is adam; --resume can't change it" \
    "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/changed" --resume --set optimizer.embedding.kind=adam
refuses "a table that the model has not" 2 "optimizer.tables\[0\].name: the model has no table lienar to train \(it has linear, embedding, dense\)" \
    "$PENSTOCK" check "$WORK/typo.yaml"
refuses "damping beside exact replay" 2 "optimizer.damping: the steps that a row misses would be replayed undamped" \
    "$PENSTOCK" check "$WORK/job.yaml" --set optimizer.damping=.5

# Stale gradients for certain: three workers, and four batches in flight each.
sed -e '/tables:/,$ { /tables:/d; /name: linear/d }' -e 's/kind: amsgrad, l2: 1e-4/kind: adagrad, rate: .05/' \
    "$WORK/job.yaml" >"$WORK/damped.yaml"
check "damped steps train" "$PENSTOCK" train "$WORK/damped.yaml" --out "$WORK/damped" --workers 3 \
    --set train.staleness=3 --set optimizer.damping=.5
check "and learn" trained damped

if [ -f "$DATA/a9a/a9a.train.libsvm" ]; then
    good() { at_least "$(sed -n '/"test"/,/}/p' "$WORK/$1/report.json" | sed -n 's/.*"auc": \([0-9.]*\).*/\1/p' | head -n 1)" .902; }
    flags=$(sed -n 's/^# *\(--set .*\)$/\1/p' "$ROOT/launch/jobs/a9a.yaml" | tr '\n' ' ')
    check "a9a by ftrl, 2 servers x 2 workers" "$PENSTOCK" train "$ROOT/launch/jobs/a9a.yaml" --set data.root="$DATA" \
        --out "$WORK/a9a" --servers 2 --workers 2 --set train.batch=256 $flags
    check "a9a by ftrl: test AUC >= .902" good a9a
else
    skip "a9a: $DATA/a9a is not there (set PENSTOCK_DATA)"
fi
finish
