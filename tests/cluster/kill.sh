#!/usr/bin/env bash
# kill -9 of each kind of process, in each phase: the run ends with a clear error within a deadline, leaves no
# process, and --resume counts each record once.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 60000 || exit 1
rows=$(($(wc -l <"$WORK/shop/train.csv") - 1))
sets="--servers 2 --shards 4 --workers 2 --set cluster.cut_every=200ms --set train.batch=64"

start() { # start NAME args...: in the background, $front is its pid
    name=$1
    shift
    "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$name" $sets "$@" >"$WORK/$name.log" 2>&1 &
    front=$!
}
phase_is() { "$PENSTOCK" status "$WORK/$1" --json | grep -Eq "\"phase\": \"($2)\""; }
cut_at_least() { [ "$(ls "$WORK/$1/cuts" 2>/dev/null | grep -c '\.json$')" -ge "$2" ]; }
gone() { ! kill -0 "$1" 2>/dev/null; }
ended() { # ended within 20 s, with a code that isn't 0
    eventually 20 gone "$front" || return 1
    wait "$front"
    [ $? -ne 0 ]
}
pid_of() { pgrep -f -- "$1" | head -n 1; }
exact() {
    r=$WORK/$1/report.json
    [ "$(json "$r" applied)" = $((rows * 2)) ] && [ "$(json "$r" doubled)" = 0 ] && [ "$(json "$r" skipped)" = 0 ]
}

victim() { # victim KIND NAME: a pid
    case $1 in
    head) pid_of "penstock-ps --dir $WORK/$2 --server 0" ;;
    server) pid_of "penstock-ps --dir $WORK/$2 --server 1" ;;
    worker) pgrep -f -- "penstock-worker --dir $WORK/$2" | while read -r p; do
        [ "$(cat /proc/$p/comm 2>/dev/null)" = penstock-worker ] && echo "$p"
    done | tail -n 1 ;;
    mpirun) pgrep -f -- "mpirun .*--dir $WORK/$2" | head -n 1 ;;
    front) echo "$front" ;;
    esac
}

for kind in head server worker mpirun front; do
    name=kill-$kind
    start "$name"
    check "$kind: training, two cuts made" eventually 60 cut_at_least "$name" 2
    kill -9 "$(victim $kind "$name")"
    check "$kind killed: the run ends with an error" ended
    check "$kind killed: nothing is left" eventually 10 none_left "$WORK/$name"
    check "$kind killed: cuts verify" "$PENSTOCK" snap verify "$WORK/$name"
    check "$kind killed: resume" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$name" $sets --resume
    check "$kind killed: each record once" exact "$name"
    [ $kind = front ] || check "$kind killed: the error says what to do" grep -q -- "--resume" "$WORK/$name.log"
done

for sig in INT TERM; do
    name=sig-$sig
    start "$name"
    check "$sig: training" eventually 60 cut_at_least "$name" 1
    kill -$sig "$front"
    check "$sig: the run stops" ended
    check "$sig: nothing is left" eventually 10 none_left "$WORK/$name"
    check "$sig: it says where" grep -q "stopped at cut" "$WORK/$name.log"
    check "$sig: resume" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$name" $sets --resume
    check "$sig: each record once" exact "$name"
done

# Before any cut: in the conversion, and while processes start.
start early
kill -9 "$front"
wait "$front" 2>/dev/null
check "front killed at once: nothing is left" eventually 10 none_left "$WORK/early"
check "front killed at once: begins again" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/early" $sets --force
check "front killed at once: each record once" exact early

# A second signal ends at once.
start twice
check "twice: training" eventually 60 cut_at_least twice 1
kill -INT "$front"
kill -TERM "$front"
check "twice: ends" ended
check "twice: nothing is left" eventually 10 none_left "$WORK/twice"
check "twice: resume" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/twice" $sets --resume
check "twice: each record once" exact twice
finish
