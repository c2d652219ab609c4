#!/usr/bin/env bash
# What a node promised to keep: killed in the middle of writing, its disk full, its journal cut, made shorter; a deleted
# user stays away; the interaction log is a log that the job reads.
. "$(dirname "$0")/../support/cluster.sh"
ASK=$BUILD/tests/cluster/serve_ask

small_shop "$WORK" 5000
check "a shop trains" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/run" --set train.epochs=1
# one STATE [option...]: lines of standard input, each a batch of its own
one() { sed 's/$/\n/' | "$ASK" "$WORK/run" "$WORK/$1" "${@:2}" >"$WORK/answers" 2>"$WORK/errors"; }
says() { sed -n "$1p" "$WORK/answers" | grep -qE -- "$2" || { sed -n "$1p" "$WORK/answers"; false; }; }
never() { ! grep -aqr -- "$1" "${@:2}"; }
user() { echo '{"kind": "user_get", "id": "'"$1"'"}'; }
event() { echo '{"kind": "events", "body": {"user_id": "'"$1"'", "events": [{"event_id": "'"$2"'", "type": "click", "item_id": "'"$3"'"}]}}'; }

# ---- killed ----
# Events in batches of ten, each with a number; what was acknowledged when it died must be there.
awk 'BEGIN { for (i = 1; i <= 200000; i++) {
    printf "{\"kind\": \"events\", \"body\": {\"user_id\": \"u%d\", \"events\": [{\"event_id\": \"k%d\", \"type\": \"click\", \"item_id\": \"n%d\"}]}}\n", i % 50, i, i
    if (i % 10 == 0) print ""
    if (i % 100 == 0) print "{\"kind\": \"tick\"}" } }' >"$WORK/many"
killed() {
    "$ASK" "$WORK/run" "$WORK/killed" compact=200000 history=20000 <"$WORK/many" >"$WORK/acked" 2>"$WORK/errors" &
    local pid=$!
    eventually 60 bash -c "[ \$(wc -l <$WORK/acked) -gt $1 ]"
    kill -9 $pid && ! wait $pid 2>/dev/null
    ls "$WORK"/killed/snapshot.*[0-9a-f] # its journal was made shorter meanwhile
}
# Numbers up to that of the last acknowledged line are in their users' histories, each once.
all_there() {
    local n
    n=$(grep -c '^202' "$WORK/acked")
    for u in $(seq 0 49); do user "u$u"; done | one killed history=20000
    grep -o '"item_id": "n[0-9]*"' "$WORK/answers" | tr -dc '0-9\n' | sort -n >"$WORK/kept"
    [ "$n" -gt 1000 ] && [ -z "$(uniq -d "$WORK/kept")" ] && [ "$(head -n "$n" "$WORK/kept" | tail -n 1)" = "$n" ] && [ "$(wc -l <"$WORK/kept")" -le 200000 ]
}
# The interaction log has a line for each of them, once.
all_logged() { cat "$WORK"/killed/interactions/*.csv | awk -F, '$1 == 1 { print $3 }' | tr -dc '0-9\n' | sort -n | cmp - "$WORK/kept"; }
check "killed by -9 while it writes" killed 5000
check "all that was acknowledged is there, once" all_there
check "and in the interaction log, once" all_logged
check "torn at its end: cut off" bash -c "f=\$(ls $WORK/killed/journal.* | tail -n 1); truncate -s -3 \$f"
check "it says so" bash -c "echo '$(user u1)' | $ASK $WORK/run $WORK/killed 2>&1 | grep 'half a write'"
check "an old event is a duplicate after all" bash -c "echo '$(event u1 k1 n1)' | $ASK $WORK/run $WORK/killed 2>/dev/null | grep '\"duplicates\": 1'"
mkfifo "$WORK/fifo"
hold() { # a second node on the same state folder
    "$ASK" "$WORK/run" "$WORK/killed" <"$WORK/fifo" >/dev/null 2>&1 &
    exec 9>"$WORK/fifo"
    eventually 20 bash -c "! echo | $ASK $WORK/run $WORK/killed 2>/dev/null"
    echo | "$ASK" "$WORK/run" "$WORK/killed" 2>&1 | grep 'another process serves from this folder'
    local found=$?
    exec 9>&-
    wait $!
    return $found
}
check "two nodes, one folder: the second is refused" hold

# ---- made shorter ----
shorter() {
    { grep events "$WORK/many" | head -n 8000 | sed '0~10s/$/\n/'; for _ in $(seq 40); do echo '{"kind": "tick"}'; done; echo; } |
        "$ASK" "$WORK/run" "$WORK/short" compact=100000 >"$WORK/acked" 2>"$WORK/errors" && ls "$WORK"/short/snapshot.* && [ "$(ls "$WORK"/short/journal.* | wc -l)" = 1 ]
}
check "the journal is made shorter" shorter
check "a user is there after it, 160 events" bash -c "echo '$(user u7)' | $ASK $WORK/run $WORK/short 2>/dev/null | grep -o '\"n[0-9]*\"' | sort -u | wc -l | grep -qx 160"

# ---- profiles, a deleted user ----
{
    echo '{"kind": "user_put", "id": "eve", "body": {"fields": {"price": 3.5, "shoe": "43"}}}'
    event eve d1 i1
    event bob d2 i2
    user eve
    echo '{"kind": "rank", "body": {"user_id": "eve", "items": ["i1", "i2"], "n": 2}}'
    echo '{"kind": "user_delete", "id": "eve"}'
    user eve
    event eve d3 i3
    user eve
    echo '{"kind": "tick", "now": 9000000000000000}'
    echo '{"kind": "item_put", "id": "i9", "body": {"fields": {"category": "c1", "price": 9}, "in_stock": false}}'
    echo '{"kind": "item_get", "id": "i9"}'
    echo '{"kind": "item_delete", "id": "i9"}'
    echo '{"kind": "item_get", "id": "i9"}'
} | one people
check "a profile and a history" says 4 '"fields": \{"price": "3.5", "shoe": "43"\}, "history": \[\{"item_id": "i1", "type": "click"'
check "deleted" says 6 '^200 .*"deleted": true'
check "absent from answers" says 7 '^404 '
check "an event of a deleted user is not kept" says 8 '^202 .*"ignored": 1'
check "still absent" says 9 '^404 '
check "an item's profile" says 11 '"category": "c1".*"in_stock": false'
check "an item deleted" says 13 '^404 '
check "what eve was shown is not in the log: only the click before she was deleted" bash -c "[ \$(cat $WORK/people/interactions/*.csv | grep -c eve) = 1 ]"
{ user eve; event eve d4 i4; echo '{"kind": "tick"}'; user bob; } | one people compact=1
{ user eve; user bob; } | one people
check "absent after restart and a shorter journal" says 1 '^404 '
check "others are there" says 2 '"item_id": "i2"'
check "her name is in no snapshot and no journal" never eve "$WORK"/people/snapshot.* "$WORK"/people/journal.*

# ---- the interaction log ----
{
    event amy e1 i5
    echo '{"kind": "rank", "now": 1700000000000000, "body": {"user_id": "amy", "items": ["i1", {"item_id": "i2", "price": 7}, "i3"], "context": {"category": "c2"}}}'
} | one log window=60000000
rec=$(sed -n '2s/.*"rec_id": "\([^"]*\)".*/\1/p' "$WORK/answers")
{
    echo '{"kind": "events", "now": 1700000010000000, "body": {"user_id": "amy", "events": [{"event_id": "e2", "type": "click", "item_id": "i2", "rec_id": "'"$rec"'", "position": 1}]}}'
    echo '{"kind": "tick", "now": 1700000030000000}'
    echo '{"kind": "tick", "now": 1700000090000000}'
    echo '{"kind": "events", "now": 1700000095000000, "body": {"user_id": "amy", "events": [{"event_id": "e3", "type": "buy", "item_id": "i3", "rec_id": "'"$rec"'"}]}}'
    echo '{"kind": "stats"}'
} | one log window=60000000
log=$WORK/log/interactions/job.00000001.csv
check "exposures waited over a restart" grep "1 exposures wait" "$WORK/errors"
check "an outcome is a positive line, with what it was scored by" grep -qE "^1,amy,i2,c2,7,$rec,[0-9]+,,,,[123],[0-9.]+\$" "$log"
check "no outcome: a negative line" bash -c "[ \$(grep -cE '^0,amy,i[13],c2,,$rec,' $log) = 2 ]"
check "a late outcome is a line of its own" grep -qE "^1,amy,i3,,,$rec,,,,,,\$" "$log"
check "late ones are counted" grep -q '"outcomes": 2, "outcomes_late": 1' "$WORK/answers"
check "the job reads it" bash -c "$PENSTOCK eval $WORK/job.yaml --snapshot $WORK/run --set data.root=$WORK --data $log >$WORK/eval.log 2>&1 && grep -q ': 5 records' $WORK/eval.log || { cat $WORK/eval.log; cat $log; false; }"

# ---- an answer that was shown, but died before it was written ----
# Nobody knows it any more; what came of one thing is one row all the same, also over a restart.
outcome() { echo '{"event_id": "'"$1"'", "type": "'"$2"'", "item_id": "'"$3"'", "rec_id": "shown-before-it-was-killed"}'; }
echo '{"kind": "events", "body": {"user_id": "amy", "events": ['"$(outcome o1 click i1), $(outcome o2 cart i1), $(outcome o3 click i2)"']}}' | one unknown
echo '{"kind": "events", "body": {"user_id": "amy", "events": ['"$(outcome o4 buy i1), $(outcome o5 click i3)"']}}' | one unknown
check "an outcome of a later start" says 1 '"accepted": 2'
check "clicked, put into the cart and bought is one row" bash -c "[ \$(grep -c '^1,amy,i1,' $WORK/unknown/interactions/*.csv) = 1 ]"
check "each click has its row" bash -c "[ \$(grep -c '^1,amy,i[123],' $WORK/unknown/interactions/*.csv) = 3 ]"

# ---- several people in one request ----
mixed() { for e in x1:ann:i1 x2:bea:i2 x3:ann:i3 x4:bea:i4; do IFS=: read -r id user item <<<"$e"; echo '{"event_id": "'"$id"'", "user_id": "'"$user"'", "type": "click", "item_id": "'"$item"'"}'; done | paste -sd,; }
{ echo '{"kind": "events", "body": {"events": ['"$(mixed)"']}}'; user ann; user bea; } | one mixed
check "events of two people in turn" says 1 '"accepted": 4'
check "the first has both" says 2 '"item_id": "i1".*"item_id": "i3"'
check "the second has both" says 3 '"item_id": "i2".*"item_id": "i4"'
user ann | one mixed
check "also after a restart" says 1 '"item_id": "i1".*"item_id": "i3"'

# ---- several labels: rows are written when their window closes, with all that came ----
sed -e 's/- {name: click, type: label}/&\n    - {name: cart, type: label}\n    - {name: buy, type: label}/' -e 's/family: mlp/family: multitask/' "$WORK/job.yaml" >"$WORK/tasks.yaml"
check "a job of three tasks trains" "$PENSTOCK" train "$WORK/tasks.yaml" --out "$WORK/tasks" --set train.epochs=1
of_tasks() { sed 's/$/\n/' | "$ASK" "$WORK/tasks" "$WORK/three" window=60000000 >"$WORK/answers" 2>"$WORK/errors"; }
echo '{"kind": "rank", "now": 1700000000000000, "body": {"user_id": "amy", "items": ["i1", "i2"], "outputs": true}}' | of_tasks
check "a score of each task" says 1 '"outputs": \{"click": [0-9.]*, "cart": [0-9.]*, "buy": [0-9.]*\}'
rec=$(sed -n '1s/.*"rec_id": "\([^"]*\)".*/\1/p' "$WORK/answers")
{
    echo '{"kind": "events", "now": 1700000010000000, "body": {"user_id": "amy", "events": [{"event_id": "t1", "type": "click", "item_id": "i2", "rec_id": "'"$rec"'"}, {"event_id": "t2", "type": "buy", "item_id": "i2", "rec_id": "'"$rec"'"}]}}'
    echo '{"kind": "events", "now": 1700000020000000, "body": {"user_id": "amy", "events": [{"event_id": "t3", "type": "cart", "item_id": "i3"}]}}'
} | of_tasks
echo '{"kind": "tick", "now": 1700000090000000}' | of_tasks
log=$WORK/three/interactions/tasks.00000001.csv
check "clicked and bought, not put into the cart" grep -qE "^1,0,1,amy,i2," "$log"
check "nothing came of it" grep -qE "^0,0,0,amy,i1," "$log"
check "an event alone says nothing of other tasks" grep -qE "^,1,,amy,i3," "$log"
check "the job reads it" bash -c "$PENSTOCK eval $WORK/tasks.yaml --snapshot $WORK/tasks --set data.root=$WORK --data $log >$WORK/eval.log 2>&1 && grep -q ': 3 records' $WORK/eval.log || { cat $WORK/eval.log; cat $log; false; }"

# ---- many ask while one writes ----
meanwhile() {
    { head -n 6000 "$WORK/many"; echo; for u in $(seq 0 2 49); do echo '{"kind": "user_delete", "id": "u'"$u"'"}'; done; echo; sed 's/k\([0-9]\)/l\1/; 6000q' "$WORK/many"; } |
        "$ASK" "$WORK/run" "$WORK/busy" compact=100000 loops=3 >"$WORK/acked" 2>"$WORK/errors" || { cat "$WORK/errors"; return 1; }
    grep 'rounds meanwhile, 0 bad' "$WORK/errors" && ! grep -v '^20[02] ' "$WORK/acked"
}
check "many ask while one writes, deletes and makes the journal shorter" meanwhile

# ---- a full disk ----
# ulimit -f: files may not grow beyond so many KiB; as with a full disk the write fails, in the middle of a frame.
full() {
    (ulimit -f 64; "$ASK" "$WORK/run" "$WORK/full" <"$WORK/many" 2>"$WORK/errors") | cat >"$WORK/acked"
    n=$(grep -c '^202' "$WORK/acked")
    [ "$n" -gt 100 ] && [ "$(grep -c '^503' "$WORK/acked")" -gt 1000 ] && grep -q '^503 .*nothing of this was kept.*File too large' "$WORK/acked"
}
head -n 20000 "$WORK/many" >"$WORK/few" && mv "$WORK/few" "$WORK/many"
check "a full disk: 503, and why" full
full_kept() {
    for u in $(seq 0 49); do user "u$u"; done | one full history=20000
    n=$(grep -c '^202' "$WORK/acked")
    [ "$(grep -o '"item_id": "n[0-9]*"' "$WORK/answers" | sort -u | wc -l)" = "$n" ]
}
check "what was acknowledged is there, what was refused is not" full_kept
goes_on() {
    (ulimit -f 64; { cat "$WORK/many"; echo; echo '{"kind": "rank", "body": {"user_id": "u1", "items": ["i1"]}}'; } | "$ASK" "$WORK/run" "$WORK/full2" 2>/dev/null) | cat >"$WORK/acked"
    tail -n 1 "$WORK/acked" | grep '^200 .*"score"'
}
check "it goes on answering" goes_on
refused_twice() { { event u1 k19999 n19999; event u1 z1 n1; } | one full && says 1 '"accepted": 1'; }
check "what was refused may be sent again: it is no duplicate" refused_twice
finish
