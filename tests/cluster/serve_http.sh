#!/usr/bin/env bash
# The serving node's HTTP interface as a whole: a run is followed while it trains, the description is held against the
# node, versions are moved, a token is asked for, TERM ends it in order, and calls that can't work are refused.
. "$(dirname "$0")/../support/cluster.sh"
unset OPENBLAS_NUM_THREADS # as on a user's shell: the node must see to it itself
small_shop "$WORK" || exit 1
cd "$WORK" || exit 1
P=$PENSTOCK
command -v python3 >/dev/null && command -v curl >/dev/null || {
    echo "skipped: python3 and curl are needed"
    exit 77
}

# node NAME args...: a node in the background; $pid, and $at once it listens.
node() {
    out=$WORK/$1.out
    shift
    "$P" serve "$@" </dev/null >"$out" 2>&1 &
    pid=$!
    eventually 60 grep -q '^serving ' "$out" || { cat "$out"; return 1; }
    at=$(sed -n 's|^serving .* at http://\([^,]*\),.*|\1|p' "$out")
}
# ended CODE: the node ends in time with this code.
ended() {
    eventually 20 sh -c "! kill -0 $pid" || { kill -9 $pid; return 1; }
    wait $pid
    got=$?
    [ $got = "$1" ] || { echo "code $got"; cat "$out"; return 1; }
}
code() { curl -s -o "$WORK/answer" -w '%{http_code}' -m 20 "$@"; }
is() { # is CODE curl's arguments: that code
    got=$(code "${@:2}")
    [ "$got" = "$1" ] || { echo "$got"; cat "$WORK/answer"; return 1; }
}
keeps() { [ "$("$P" serving "$at" list | grep -cE '^ +[0-9]')" -ge "$1" ]; }
says() { grep -q -- "$@"; }

# -- followed while it trains --
"$P" train job.yaml --out run --servers 1 --shards 2 --workers 1 --set train.epochs=8 --set cluster.cut_every=300ms >train.log 2>&1 &
train=$!
at= pid=
check "the run makes a first cut" eventually 60 sh -c 'ls run/cuts/*.json'
printf "name: same\nvariants:\n  - {name: one}\n  - {name: two}\n" >same.yaml
check "the node comes up while the run does" node follow job.yaml --follow run --ab same.yaml --http 0 --state state --loops 2
check "it is ready" is 200 "http://$at/v2/health/ready"
wait $train
check "the run ends well" test $? = 0
check "several versions are kept" eventually 30 keeps 2
last=$(ls run/cuts | sed -n 's/\.json$//p' | sort -n | tail -n 1)
shows() { curl -s "http://$at/healthz" | grep -q "\"snapshot_version\": $1[,}]"; }
check "the last cut is shown" eventually 30 shows "$last"
check "routes and codes are what /openapi.json says" python3 "$ROOT/tests/support/openapi_check.py" "$at" job 7 3
grep -hoE '[0-9]+ routes and codes held' check.log | sed 's/^/    /'
if command -v promtool >/dev/null; then
    check "promtool takes /metrics" sh -c "curl -s http://$at/metrics | promtool check metrics"
else
    skip "promtool is not here"
fi
curl -s "http://$at/metrics" >metrics.txt
for name in serving_request_duration_seconds_bucket serving_requests_total snapshot_version snapshot_age_seconds \
    resync_total crc_errors_total overlay_bytes events_total exposures_total; do
    check "metric $name" says "^penstock_$name" metrics.txt
done

# -- versions: the pointer moves --
check "rollback shows an older one" sh -c "'$P' serving $at rollback | grep -q 'shown, pinned'"
check "and answers come from it" sh -c "! curl -s http://$at/healthz | grep -q '\"snapshot_version\": $last,'"
check "unpin shows the newest" sh -c "'$P' serving $at unpin >/dev/null && curl -s http://$at/healthz | grep -q '\"snapshot_version\": $last,'"
check "pin K" sh -c "'$P' serving $at pin $last --json | grep -q '\"pinned\": true'"
refuses "pin of a version that is not kept" 1 "cut 99999 is not kept" "$P" serving "$at" pin 99999
refuses "serving with an unknown word" 2 "list, pin, unpin or rollback" "$P" serving "$at" show
refuses "serving without a node" 1 "no node listens" "$P" serving 127.0.0.1:1 list

# -- what 202 promised is there after kill -9 --
check "an event is taken" is 202 -d '{"user_id": "eva", "events": [{"event_id": "e1", "type": "click", "item_id": 5}]}' "http://$at/v1/events"
kill -9 $pid
wait $pid 2>/dev/null
check "the node comes up again on its state" node again job.yaml --snapshot run --http 0 --state state
check "the event is in the history" sh -c "curl -s http://$at/v1/users/eva | grep -q '\"item_id\": \"5\"'"
refuses "a second node on the same state" 1 "state" "$P" serve job.yaml --snapshot run --http 0 --state state
refuses "a port that is taken" 1 "can't listen on" "$P" serve job.yaml --snapshot run --http "$at" --state other
# Nothing is lost by a stop: clients that ask all the time see answers, then a closed port.
for i in 1 2 3 4; do
    while [ "$(code -d '{"user_id": 1, "items": [1, 2, 3]}' "http://$at/v1/rank")" = 200 ]; do :; done &
    clients="${clients:-} $!"
done
check "it answers many" eventually 10 sh -c "curl -s http://$at/metrics | grep -qE 'requests_total.code=\"200\". [0-9]{2,}'"
kill -TERM $pid
check "TERM ends it with 0" ended 0
wait $clients

# -- a token --
head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' >token
check "a node with a token, beyond loopback" node token job.yaml --snapshot run --http 0.0.0.0:0 --state other --token-file token
at=127.0.0.1:${at##*:}
check "no token: 401" is 401 "http://$at/v1/versions"
check "a wrong one: 401" is 401 -H 'Authorization: Bearer 0123456789abcdef' "http://$at/v1/versions"
check "the right one: 200" is 200 -H "Authorization: Bearer $(cat token)" "http://$at/v1/versions"
check "health needs none" is 200 "http://$at/healthz"
check "penstock serving shows it" "$P" serving "$at" list --token-file token
refuses "penstock serving without it" 1 "Bearer TOKEN" "$P" serving "$at" list
kill -INT $pid
check "INT ends it with 0" ended 0

# -- calls that can't work --
refuses "serve: nothing to serve" 2 "one of --snapshot and --follow" "$P" serve job.yaml
refuses "serve: both" 2 "one of --snapshot and --follow" "$P" serve job.yaml --snapshot run --follow run
refuses "serve: a folder that is not there" 3 "nothere" "$P" serve job.yaml --snapshot nothere --http 0
refuses "serve: a cut that is not there" 3 "99999" "$P" serve job.yaml --snapshot run@99999 --http 0
refuses "serve: beyond loopback without a token" 2 "not loopback" "$P" serve job.yaml --snapshot run --http 0.0.0.0:0 --state other
refuses "serve: no address" 2 "HOST:.PORT" "$P" serve job.yaml --snapshot run --http host --state other
echo short >short
refuses "serve: a token that is too short" 2 "one word of at least" "$P" serve job.yaml --snapshot run --http 0 --token-file short --state other
sed 's/name: category, type: id/name: category, type: id, hash: 10/' job.yaml >another.yaml
refuses "serve: another job" 2 "field \"category\" is not that of the run" "$P" serve another.yaml --snapshot run --http 0 --state other
finish
