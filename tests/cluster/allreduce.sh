#!/usr/bin/env bash
# train.dense: allreduce. With bsp the bits are those of dense: ps on 1, 2 and 4 workers; with ssp and async (the hybrid) the
# dense part makes one step a clock on any number of workers. A worker that dies while others wait for it in the sum
# ends the run, and --resume goes on: each record counts once.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1
rows=$(($(wc -l <"$WORK/shop/train.csv") - 1))
# Adam with exact L2 on both sides, dropout, batch norm; the last step of an epoch is short, and no multiple of 3
sets="--set train.dense=allreduce --set train.batch=250 --set model.batch_norm=true"

train() { "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$1" $sets "${@:2}"; }
tables() { "$PENSTOCK" snap show "$WORK/$1" | awk '$1 == "table" { on = 1; next } NF == 0 { on = 0 } on'; }
equal() { [ -n "$(tables "$1")" ] && [ "$(tables "$1")" = "$(tables "$2")" ]; }
exact() {
    r=$WORK/$1/report.json
    [ "$(json "$r" applied)" = $((rows * 2)) ] && [ "$(json "$r" doubled)" = 0 ] && [ "$(json "$r" skipped)" = 0 ] &&
        [ "$(json "$r" dense)" = allreduce ]
}
# clocks NAME: the step of the last cut is the number of clocks, not of pushes.
clocks() { "$PENSTOCK" snap show "$WORK/$1" | grep -q "^  step $((2 * ((rows + 249) / 250))),"; }
cut_at_least() { [ "$(ls "$WORK/$1/cuts" 2>/dev/null | grep -c '\.json$')" -ge "$2" ]; }

bsp="--set train.consistency=bsp --set train.slices=4"
check "bsp, dense on the servers" train ps $bsp --workers 1 --shards 3 --set train.dense=ps
for w in 1 2 4; do
    check "bsp, $w workers" train bsp$w $bsp --workers $w --servers 2 --shards 3
    check "bsp, $w workers: each record once" exact bsp$w
    check "bsp, $w workers: the bits of dense: ps" equal ps bsp$w
done
# one worker alone does the same whatever is chosen
check "async, 1 worker, dense on the servers" train alone --workers 1 --shards 3 --set train.dense=ps
for mode in async ssp; do
    check "$mode, 1 worker" train $mode-1 --set train.consistency=$mode --workers 1 --shards 3 --set train.staleness=0
    check "$mode, 1 worker: the bits of async" equal alone $mode-1
    for w in 2 3; do
        name=$mode-$w
        check "$mode, $w workers" train $name --set train.consistency=$mode --set train.staleness=2 --workers $w \
            --servers 2 --shards 3 --set cluster.cut_every=50ms
        check "$mode, $w workers: each record once" exact $name
        check "$mode, $w workers: a step of the dense part a clock" clocks $name
        check "$mode, $w workers: every file of every cut" "$PENSTOCK" snap verify "$WORK/$name"
    done
done

# kill -9 of one worker in the middle: the others sit in the sum, and must not stay there.
n=0
for mode in async ssp bsp; do
    name=kill-$mode n=$((n + 1))
    more="--set train.consistency=$mode"
    [ $mode = bsp ] || more="$more --set train.staleness=1"
    "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$name" $sets $more --workers 2 --shards 3 --set cluster.cut_every=50ms \
        >"$WORK/$name.log" 2>&1 &
    front=$!
    check "$mode: training" eventually 60 cut_at_least "$name" 1
    victim=$(pgrep -f -- "penstock-worker --dir $WORK/$name" | tail -n 1)
    kill -KILL "$victim"
    wait "$front"
    code=$?
    check "$mode: the death of a worker ends the run" [ $code -ne 0 ]
    check "$mode: nothing is left" eventually 20 none_left "$WORK/$name"
    w=3
    [ $mode = bsp ] && w=4
    [ $mode = bsp ] && more="$more --set train.slices=0"
    check "$mode: $w workers go on" train "$name" $more --workers $w --servers 2 --shards 4 --resume
    check "$mode: each record once" exact "$name"
    check "$mode: every file of every cut" "$PENSTOCK" snap verify "$WORK/$name"
done
finish
