#!/usr/bin/env bash
# train.consistency: ssp. 1, 2 and 3 workers, each with its part of each step, none of them far ahead of another, also of
# one that is slow; stopped or killed in the middle and gone on with other numbers of workers: each record counts once.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1
rows=$(($(wc -l <"$WORK/shop/train.csv") - 1))
# steps of 250 records for 3 workers; the last one of an epoch is short, and no multiple of 3
sets="--set train.consistency=ssp --set train.batch=250"

train() { "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$1" $sets "${@:2}"; }
exact() {
    r=$WORK/$1/report.json
    [ "$(json "$r" applied)" = $((rows * 2)) ] && [ "$(json "$r" doubled)" = 0 ] && [ "$(json "$r" skipped)" = 0 ] &&
        [ "$(json "$r" consistency)" = ssp ]
}
tables() { "$PENSTOCK" snap show "$WORK/$1" | awk '$1 == "table" { on = 1; next } NF == 0 { on = 0 } on'; }
equal() { [ -n "$(tables "$1")" ] && [ "$(tables "$1")" = "$(tables "$2")" ]; }
cut_at_least() { [ "$(ls "$WORK/$1/cuts" 2>/dev/null | grep -c '\.json$')" -ge "$2" ]; }
# A step is W pushes, and the rows of a push miss at most (s + 1) of each other worker and what it pulled ahead itself.
fresh() { at_least "$(awk -v w="$2" -v s="$3" 'BEGIN { print (2 * w - 1) * (s + 1) }')" "$(json "$WORK/$1/report.json" p99)"; }

check "1 worker" train w1 --workers 1 --shards 3
check "1 worker: each record once" exact w1
# alone there is nobody to wait for: the same as async
check "1 worker, async" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/async" --workers 1 --shards 3 --set train.batch=250
check "1 worker: equal tables" equal w1 async
for w in 2 3; do
    for s in 0 2; do
        name=w$w-s$s
        check "$w workers, staleness $s" train $name --workers $w --servers 2 --shards 3 --set train.staleness=$s \
            --set cluster.cut_every=50ms
        check "$w workers, staleness $s: each record once" exact $name
        check "$w workers, staleness $s: no push is staler" fresh $name $w $s
        check "$w workers, staleness $s: every file of every cut" "$PENSTOCK" snap verify "$WORK/$name"
    done
done

# One of three workers stands still for half a second, again and again.
"$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/slow" $sets --workers 3 --shards 2 --set train.staleness=1 \
    --set train.epochs=6 --set train.plateau.patience=0 --set cluster.cut_every=200ms >"$WORK/slow.log" 2>&1 &
front=$!
check "slow worker: training" eventually 60 cut_at_least slow 1
victim=$(pgrep -f -- "penstock-worker --dir $WORK/slow" | tail -n 1)
check "slow worker: it is there" [ -n "$victim" ]
for i in 1 2 3 4; do
    kill -STOP "$victim" && sleep .5
    kill -CONT "$victim"
    sleep .2
done
wait "$front"
check "slow worker: the run ends well" [ $? -eq 0 ]
once=$(json "$WORK/slow/report.json" applied)
check "slow worker: each record once" [ "$once" = $((rows * 6)) ]
check "slow worker: no push is staler" fresh slow 3 1

# Stopped, or killed, in the middle of an epoch; another number of workers goes on.
for sig in TERM KILL; do
    name=sig-$sig
    "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$name" $sets --workers 2 --shards 3 --set train.staleness=2 \
        --set cluster.cut_every=50ms >"$WORK/$name.log" 2>&1 &
    front=$!
    check "$sig: training" eventually 60 cut_at_least "$name" 1
    kill -$sig "$front"
    wait "$front" 2>/dev/null
    check "$sig: nothing is left" eventually 20 none_left "$WORK/$name"
    check "$sig: 3 workers go on" train "$name" --workers 3 --servers 2 --shards 4 --set train.staleness=2 --resume
    check "$sig: each record once" exact "$name"
    check "$sig: every file of every cut" "$PENSTOCK" snap verify "$WORK/$name"
done
finish
