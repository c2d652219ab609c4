#!/usr/bin/env bash
# Simulated people against a real serving node: what they are shown is better than chance, an event changes the next
# ranking, and a node that is killed in the middle has lost none of the clicks that it acknowledged, nor doubled one.
. "$(dirname "$0")/../support/cluster.sh"
if [ ! -x "$BUILD/bin/penstock-serve" ]; then
    echo "this build has no penstock-serve"
    exit 77
fi
small_shop "$WORK" 30000 || exit 1
cd "$WORK" || exit 1
# With what people did as a part of the model, or no event could change anything.
sed -i 's|    - {name: price.*|    - {name: time, type: time}\n    - {name: hour, type: id}\n    - {name: device, type: id}\n&\n    - {name: liked, type: history, of: item, max: 10, when: positive}|; s/^model:.*/model: {family: dcnv2, embedding: 8, embedding_init: .01, hidden: [32], cross: 2, pooling: mean}/' job.yaml

node_pid=
trap 'kill -9 $node_pid 2>/dev/null; rm -rf "$WORK"' EXIT
serve() { # serve STATE PORT: sets node_pid, and url once it listens
    : >node.log
    "$BUILD/bin/penstock" serve job.yaml --snapshot run --state "$1" --http "127.0.0.1:$2" >node.log 2>&1 &
    node_pid=$!
    eventually 30 grep -q "at http://" node.log || return 1
    url=$(sed -n 's/.* at \(http:[^, ]*\).*/\1/p' node.log | head -n 1)
}
people() { # people OUT words...
    people_out=$1
    shift
    timeout 120 "$PENSTOCK" simulate shop --node "$url" --rate 60 --context hour,device --json "$@" >"$people_out" 2>people.log
}
# What the report says of a number: the first of this name.
number() { grep -o "\"$2\": [0-9][0-9.]*" "$1" | head -n 1 | cut -d' ' -f 2; }
logged() { awk -F, 'FNR == 1 { for (i = 1; i <= NF; i++) if ($i == "click") at = i; next } $at == 1' "$1"/interactions/*.csv | wc -l; }
same_clicks() { # same_clicks REPORT STATE
    echo "clicks $(number "$1" clicks), in the log $(logged "$2")"
    [ "$(number "$1" clicks)" = "$(logged "$2")" ]
}

check "a model with histories trains" "$PENSTOCK" train job.yaml --out run --set train.epochs=4
check "a node serves it" serve calm 0
check "people visit, and no answer is wrong" people calm.json --requests 400 --candidates 60 --probe 5
say "        CTR $(number calm.json ctr), best order $(number calm.json ctr_best), random order $(number calm.json ctr_random)"
check "better than half of the way from chance to the best" at_least "$(number calm.json gain)" .5
check "each visit was ranked" [ "$(number calm.json done)" = 400 ]
changed() { sed -n '/event_to_ranking_ms/,/}/p' calm.json | grep -o '"n": [0-9]*' | cut -d' ' -f 2; }
check "an event changes the next ranking" at_least "$(changed)" 5
check "each click is in the interaction log, once" same_clicks calm.json calm
port=${url##*:}
kill -9 "$node_pid"
wait "$node_pid" 2>/dev/null

# The same port: its people wait for it there.
check "a node on the same port" serve killed "$port"
: >people.log
people killed.json --seconds 8 --candidates 60 &
people_pid=$!
check "people are at it" eventually 30 grep -q "[1-9][0-9]* visits" people.log # told after five of the eight seconds
kill -9 "$node_pid"
wait "$node_pid" 2>/dev/null
check "the node is back" serve killed "$port"
check "its people saw no wrong answer" wait "$people_pid"
check "tries failed" at_least "$(number killed.json none)" 1
lost() { sed -n '/"events": {/,/}/p' killed.json | grep -o '"lost": [0-9]*' | cut -d' ' -f 2; }
check "no event was lost" [ "$(lost)" = 0 ]
check "each click is in the interaction log, once, kill -9 or not" same_clicks killed.json killed
kill "$node_pid"
wait "$node_pid"
finish
