#!/usr/bin/env bash
# Each kind of process killed (-9), INT and TERM, while the run converts, warms up, evaluates, and holds for a cut:
# it ends with an error within a deadline, leaves no process, and --resume counts each record once.
# kill.sh does the same in the middle of training.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1
rows=$(($(wc -l <"$WORK/shop/train.csv") - 1))
epochs=2
records=$rows # of an epoch
# A long evaluation: the valid part many times over.
for i in 1 2 3 4 5 6 7 8 9; do cp "$WORK/shop/train.csv" "$WORK/shop/long-$i.csv"; done
sed 's|valid: shop/valid.csv|valid: shop/long-*.csv|' "$WORK/job.yaml" >"$WORK/long.yaml"
sets="--servers 2 --shards 4 --workers 2 --set cluster.cut_every=150ms --set cluster.hold=20s --set train.batch=64 --set train.warmup=1M"
cache= # the caches are the run's own

start() { # start NAME JOB args...: in the background, $front is its pid
    name=$1
    job=$2
    shift 2
    "$PENSTOCK" train "$WORK/$job" --out "$WORK/$name" $sets "$@" >"$WORK/$name.log" 2>&1 &
    front=$!
}
status() { "$PENSTOCK" status "$WORK/$name" --json; }
phase_is() { status | grep -Eq "\"phase\": *\"($1)\""; }
warming_up() { status | tr -d ' \n' | grep -Eq '"applied":[1-9]' && phase_is "train|cut"; }
cut_made() { ls "$WORK/$name/cuts/"*.json >/dev/null 2>&1; }
gone() { ! kill -0 "$1" 2>/dev/null; }
ended() { # ended within 40 s, with a code that isn't 0
    eventually 40 gone "$front" || return 1
    wait "$front"
    [ $? -ne 0 ]
}
workers_of() {
    for p in $(pgrep -f -- "penstock-worker --dir $WORK/$name( |\$)"); do
        [ "$(cat "/proc/$p/comm" 2>/dev/null)" = penstock-worker ] && echo "$p"
    done
}
victim() { # victim KIND: a pid
    case $1 in
    head) pgrep -f -- "penstock-ps --dir $WORK/$name --server 0" | head -n 1 ;;
    server) pgrep -f -- "penstock-ps --dir $WORK/$name --server 1" | head -n 1 ;;
    worker) workers_of | tail -n 1 ;;
    mpirun) pgrep -f -- "mpirun .*--dir $WORK/$name( |\$)" | head -n 1 ;;
    *) echo "$front" ;;
    esac
}
strike() { # strike KIND
    case $1 in
    INT | TERM) kill "-$1" "$front" ;;
    *) kill -9 "$(victim "$1")" ;;
    esac
}
exact() {
    r=$WORK/$name/report.json
    [ "$(json "$r" applied)" = $((records * epochs)) ] && [ "$(json "$r" doubled)" = 0 ] && [ "$(json "$r" skipped)" = 0 ]
}
# The way back: from the newest cut, or from the beginning where there was none.
resumes() { "$PENSTOCK" train "$WORK/$job" --out "$WORK/$name" $sets $cache --resume; }

after() { # after PHASE KIND
    check "$1, $2: ends with an error" ended
    say "        $(tr '\r' '\n' <"$WORK/$name.log" | grep -E '^penstock train:|ERROR' | tail -n 1 | tail -c 230)"
    check "$1, $2: nothing is left" eventually 20 none_left "$WORK/$name"
    check "$1, $2: resume" resumes
    check "$1, $2: each record once" exact
}

# -- convert: only the front works --
for kind in front INT TERM; do
    start "convert-$kind" long.yaml
    check "convert, $kind: converting" eventually 20 sh -c "ls '$WORK/$name/cache/'*.tmp.*"
    strike $kind
    after convert $kind
    check "convert, $kind: nothing half-written" sh -c "! ls '$WORK/$name/cache/'*.tmp.*"
done

cache="--set data.cache=$WORK/cache"
check "one conversion for the rest" "$PENSTOCK" data convert "$WORK/job.yaml" --out "$WORK/cache"
for kind in head server worker mpirun front INT TERM; do
    start "warmup-$kind" job.yaml $cache
    check "warm-up, $kind: first records" eventually 60 warming_up
    strike $kind
    after warm-up $kind
done

# -- cut: a stopped worker can't say that it holds, so the cut stays open. Epochs are long enough that it is
# stopped in the middle of one --
sed 's|train: shop/train.csv|train: shop/long-[1234].csv|' "$WORK/job.yaml" >"$WORK/four.yaml"
check "another for longer epochs" "$PENSTOCK" data convert "$WORK/four.yaml" --out "$WORK/cache"
records=$((4 * rows))
for kind in head server worker mpirun front INT TERM; do
    start "cut-$kind" four.yaml $cache --set cluster.dead=15s
    check "cut, $kind: a first cut" eventually 60 cut_made
    frozen=$(workers_of | head -n 1)
    kill -STOP "$frozen"
    check "cut, $kind: held" eventually 30 phase_is cut
    strike $kind
    kill -CONT "$frozen" 2>/dev/null
    after cut $kind
done

records=$rows
check "another for a long evaluation" "$PENSTOCK" data convert "$WORK/long.yaml" --out "$WORK/cache"
for kind in head server worker mpirun front INT TERM; do
    start "evaluate-$kind" long.yaml $cache
    check "evaluate, $kind: evaluating" eventually 60 phase_is evaluate
    strike $kind
    after evaluate $kind
done
finish
