#!/usr/bin/env bash
# One worker is exact, bit for bit: two epochs = one, stop, resume one; with cuts = without; on any number of shards.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1

train() { "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$1" "${@:2}"; }
# Equal parameters, table by table: snap diff answers 0 only then.
equal() { "$PENSTOCK" snap diff "$WORK/$1" "$WORK/$2"; }
newest() { ls "$WORK/$1/cuts" | sed -n 's/^\([0-9]*\)\.json$/\1/p' | sort -n | tail -n 1; }
equal_newest() { "$PENSTOCK" snap diff "$WORK/$1@$(newest "$1")" "$WORK/$2@$(newest "$2")"; }

check "two epochs" train whole --shards 4 --set cluster.cut_every=1h
check "two epochs with a cut each 100 ms" train cuts --shards 4 --set cluster.cut_every=100ms
check "a run with cuts = a run without" equal_newest whole cuts
check "one epoch" train half --shards 4 --set cluster.cut_every=1h --set train.epochs=1
for n in 1 2 3 5; do cp -r "$WORK/half" "$WORK/half$n"; done
check "resume for the second" train half --shards 4 --resume --set cluster.cut_every=1h
check "1 + 1 epochs = 2 epochs" equal_newest whole half
for n in 1 2 3 5; do
    check "resume on $n shards" train "half$n" --shards "$n" --resume --set cluster.cut_every=1h
    check "4 -> $n shards: equal tables" equal_newest whole "half$n"
    check "4 -> $n shards: verifies" "$PENSTOCK" snap verify "$WORK/half$n"
done
differ() { ! equal_newest half1 other; }
check "another seed" train other --set train.seed=4
check "snap diff sees a difference" differ
finish
