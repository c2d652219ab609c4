#!/usr/bin/env bash
# Two nodes follow one training, by its folder and by tcp, through killed servers, a resume, another number of shards:
# each version they show has the manifest's hash of weights, and none is ever gone.
. "$(dirname "$0")/../support/cluster.sh"
command -v python3 >/dev/null || { skip "python3 is not there"; finish; }
small_shop "$WORK" 60000 || exit 1
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
follower=$BUILD/bin/penstock-follow
run=$WORK/run

start() { # flags: a training in the background
    "$PENSTOCK" train "$WORK/job.yaml" --out "$run" --workers 2 --servers 2 --set train.epochs=400 --set train.plateau.patience=0 \
        --set cluster.cut_every=300ms --set cluster.full_every=4 --set cluster.stream="$port" "$@" >>"$WORK/train.log" 2>&1 &
    train=$!
}
# Manifests are pruned after three cuts: keep what was there.
keep_manifests() { while sleep 0.03; do cp -n "$run"/cuts/*.json "$WORK/seen/" 2>/dev/null; done; }
shown() { grep -c '^cut ' "$WORK/$1.log"; }
shown_more() { [ "$(shown dir)" -ge $((dir_before + $1)) ] && [ "$(shown tcp)" -ge $((tcp_before + $1)) ]; }
more() { # NAME N: both nodes show N cuts more
    dir_before=$(shown dir) tcp_before=$(shown tcp)
    check "$1" eventually 60 shown_more "$2"
}
newest_shown() { tail -n 200 "$WORK/$1.log" | sed -n 's/^cut \([0-9]*\) .*/\1/p' | tail -n 1; }
newest() { ls "$run/cuts" | sed -n 's/^\([0-9]*\)\.json$/\1/p' | sort -n | tail -n 1; }
caught_up() { [ "$(newest_shown dir)" = "$(newest)" ] && [ "$(newest_shown tcp)" = "$(newest)" ]; }
server() { pgrep -f -- "penstock-ps --dir $run --server $1 " | head -n 1; }

mkdir "$WORK/seen"
keep_manifests &
keeper=$!
start --shards 2
check "the run begins" eventually 60 test -e "$run/cache/encoder.bin"
check "the stream has an address" eventually 60 grep -q "tcp://127.0.0.1:$port" "$run/stream"
"$follower" --for 200 "$run" >"$WORK/dir.log" 2>&1 &
by_dir=$!
TMPDIR=$WORK "$follower" --for 200 "tcp://127.0.0.1:$port" >"$WORK/tcp.log" 2>&1 &
by_tcp=$!
more "both nodes show versions" 3
says_stream() { "$PENSTOCK" status "$run" | grep -q "served at tcp://127.0.0.1:$port"; }
check "status tells where" says_stream
kill_and_resume() { # SERVER flags: the run ends, and is gone on with
    check "kill -9 of server $1" kill -9 "$(server "$1")"
    wait "$train" 2>/dev/null
    check "the run is dead" eventually 30 none_left "$run"
    check "both still show the newest" eventually 20 caught_up
    shift
    start --resume "$@"
}
kill_and_resume 0 --shards 2
more "both go on after the head's death" 3
kill_and_resume 1 --shards 5
more "both go on with five shards" 3
kill -TERM "$train"
wait "$train" 2>/dev/null
check "both show the last cut" eventually 30 caught_up
kill "$keeper"
kill -TERM "$by_dir" "$by_tcp" 2>/dev/null
wait "$by_dir" "$by_tcp" "$keeper" 2>/dev/null
none_gone() { ! grep -q "^gone" "$WORK/dir.log" "$WORK/tcp.log"; }
check "a version was shown all along" none_gone
check "equal hashes at every version" python3 "$ROOT/tests/support/replica_log.py" "$WORK/seen" "$WORK/dir.log" "$WORK/tcp.log"
[ "$failed" = 0 ] || tail -n 15 "$WORK/train.log" "$WORK/dir.log" "$WORK/tcp.log"
finish
