#!/usr/bin/env bash
# How fast a serving node ranks: POST /v1/rank of 500 candidates, DCN-v2 of launch/jobs/shop.yaml, closed loop, at 1, 8 and
# 64 connections, with one loop and two; then while it follows a run that makes a cut a second, against the same node idle.
# Client and node share this host: with two cores and two loops the client takes its part of both.
# The ceiling: what the same model needs for 500 records without HTTP, JSON and ids, by tests/bench/nn_step.
set -u
BUILD=${BUILD:-build}
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
P=$BUILD/bin/penstock
LOAD=$BUILD/tests/bench/serve_load
SECONDS_EACH=${SECONDS_EACH:-5}
work=$(mktemp -d "${TMPDIR:-/tmp}/penstock-bench.XXXXXX")
pid= train=
trap '[ -n "$pid" ] && kill $pid 2>/dev/null; [ -n "$train" ] && kill $train 2>/dev/null; wait; rm -rf "$work"' EXIT
cd "$work" || exit 1
"$P" data synth shop --users 5k --items 2k --events 200k --seed 1 --out shop >/dev/null 2>&1 || exit 1
run() { # run OUT args...: one process of each kind, so that the node has a core
    out=$1
    shift
    "$P" train "$ROOT/launch/jobs/shop.yaml" --set data.root="$work/shop" --servers 1 --shards 1 --workers 1 --out "$out" --force "$@"
}
node() { # node args...
    "$P" serve "$ROOT/launch/jobs/shop.yaml" --http 0 --state state "$@" >node.out 2>&1 &
    pid=$!
    for _ in $(seq 600); do
        grep -q '^serving ' node.out && break
        sleep .1
    done
    at=$(sed -n 's|^serving .* at http://\([^,]*\),.*|\1|p' node.out)
    [ -n "$at" ] || { cat node.out; exit 1; }
}
node_end() {
    kill $pid
    wait $pid
    pid=
    rm -rf state
}
load() { "$LOAD" "$at" "$1" "$SECONDS_EACH" 500 5000 2000; }

run one --set train.epochs=1 >train.out 2>&1 || { tail train.out; exit 1; }
for loops in 1 2; do
    echo "idle, $loops loop(s):"
    node --snapshot one --loops $loops
    for c in 1 8 64; do load $c; done
    node_end
done

echo "following a cut a second, 1 loop (training takes its part of the host):"
run live --set train.epochs=1000 --set cluster.cut_every=1s >live.out 2>&1 &
train=$!
for _ in $(seq 600); do
    ls live/cuts/*.json >/dev/null 2>&1 && break
    sleep .1
done
node --follow live --loops 1
for c in 1 8; do load $c; done
curl -s "http://$at/metrics" | grep -E '^penstock_(snapshots_shown_total|snapshot_age_seconds|hash_mismatch_total) '
kill $train
wait $train
train=
echo "the same node, the run ended:"
for c in 1 8; do load $c; done
node_end
