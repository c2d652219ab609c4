#!/usr/bin/env bash
# demo.sh BUILD [JOB]: what `make demo` shows. BUILD: the folder of the build. All on this host, nothing outside BUILD/demo.
#
# Without JOB: a generated shop, live. Two servers with four shards and two workers train its log, then go on with what a
# serving node writes down; people that the shop invents ask the node, look, click; half of them are ranked by the first
# version, frozen, half by the live one. It ends with what came of it. With JOB: that job is trained and served.
set -euo pipefail
build=$1 job=${2:-}
bin=$build/bin/penstock
dir=$build/demo
here=$(cd "$(dirname "$0")/.." && pwd)
seconds=60 rate=60
trainer='' node=''

# What goes wrong on the way has said so and has its exit code; here nobody stays.
finish() {
    local left
    for left in $node $trainer; do
        if kill -TERM "$left" 2>/dev/null; then wait "$left"; fi
    done
}
trap finish EXIT

# end_well PID WHAT: TERM is how trainer and node end, with code 0.
end_well() {
    local code=0
    kill -TERM "$1"
    wait "$1" || code=$?
    if [ $code != 0 ]; then
        echo "demo: $2 ended with code $code; see $dir" >&2
        exit 1
    fi
}

say() { printf '\n== %s\n' "$*"; }

# until_true SECONDS WHAT command...: asks five times a second.
until_true() {
    local left=$(($1 * 5)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            echo "demo: $what did not happen; see $dir" >&2
            tail -n 5 "$dir"/*.log >&2
            exit 1
        fi
        sleep .2
    done
}

# start_node JOB RUN flags...: $node, $url
start_node() {
    local of=$1 run=$2
    shift 2
    "$bin" serve "$of" --follow "$run" --http 0 --state "$dir/node" "$@" >"$dir/node.log" 2>&1 &
    node=$!
    until_true 60 "the node's start" grep -q 'http://' "$dir/node.log"
    url=$(grep -o 'http://[0-9.:]*' "$dir/node.log" | head -1)
}

# The newest cut of the run is the one that the node shows.
last_shown() {
    local newest
    newest=$(ls "$dir/run/cuts" | sed -n 's/^\([0-9]*\)\.json$/\1/p' | sort -n | tail -1)
    "$bin" serving "${url#http://}" list | awk -v k="$newest" '$1 == k && /shown/ { found = 1 } END { exit !found }'
}

# The AUC that the true probabilities reach.
truth() { sed -n '/"test"/,$s/ *"auc": *\([0-9.]*\).*/\1/p' "$dir/shop/truth.json" | head -n 1; }

rm -rf "$dir"
mkdir -p "$dir"

if [ -n "$job" ]; then
    say "train $job: 2 servers x 2 shards, 2 workers"
    "$bin" train "$job" --servers 2 --shards 4 --workers 2 --out "$dir/run" --force
    say "serve it"
    start_node "$job" "$dir/run"
    "$bin" serving "${url#http://}" list
    end_well $node "the node"
    node=''
    echo "again, and to stay:  $bin serve $job --follow $dir/run      then ask as GET /openapi.json says"
    exit 0
fi

say "a shop's log: 2,000 users, 1,000 items, 200,000 events"
"$bin" data synth shop --users 2k --items 1k --events 200k --seed 1 --out "$dir/shop"
mkdir -p "$dir/node/interactions"
ln -s ../node/interactions "$dir/shop/live"

say "train DCN-v2 on 2 servers x 2 shards with 2 workers, then go on with what the node writes down"
"$bin" train "$here/launch/jobs/shop_live.yaml" --set data.root="$(cd "$dir/shop" && pwd)" \
    --servers 2 --shards 4 --workers 2 --out "$dir/run" --force >"$dir/train.log" 2>&1 &
trainer=$!
until_true 30 "the training's start" test -s "$dir/train.log"
until_true 150 "the end of the first training" grep -q '^Live' "$dir/train.log"
grep ' done ' "$dir/train.log"
first=$(ls "$dir/run/cuts" | sed -n 's/^\([0-9]*\)\.json$/\1/p' | sort -n | tail -1)

say "cut $first on the log's last days, which it has not seen; at most $(truth) is possible"
"$bin" eval "$here/launch/jobs/shop_live.yaml" --set data.root="$dir/shop" --snapshot "$dir/run@$first" --data "$dir/shop/test.csv"

say "serve it: an experiment between cut $first, frozen, and the live model"
cat >"$dir/experiment.yaml" <<EOF
name: freshness
window: 5s                # of an exposure: then it is a negative, in the log that training follows
n_star: 2k
variants:
  - {name: frozen, weight: .5, version: $first}
  - {name: live, weight: .5}
EOF
start_node "$here/launch/jobs/shop_live.yaml" "$dir/run" --set data.root="$dir/shop" --ab "$dir/experiment.yaml"

say "people come for $seconds s, $rate a second, who look down the list and click what they like"
"$bin" simulate "$dir/shop" --node "$url" --rate "$rate" --seconds "$seconds" --seed 1 --speed 3600 | tee "$dir/people.log"
sleep 8 # the last windows close, their lines are trained on
"$bin" status "$dir/run" | head -20
end_well $trainer "the training"
trainer=''
sed -n '/^shop_live:/,$p' "$dir/train.log"

say "versions that the node has shown, each proved by the hash of every table"
until_true 20 "the last cut on the node" last_shown
"$bin" serving "${url#http://}" list
"$bin" snap verify "$dir/run" | tail -1

say "frozen against live"
"$bin" ab report "${url#http://}"
end_well $node "the node"
node=''
