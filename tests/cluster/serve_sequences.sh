#!/usr/bin/env bash
# A next-item model, served: retrieval ranks all items as eval does; filters, popularity, similar items, an event that
# changes the next answer.
. "$(dirname "$0")/../support/cluster.sh"
ASK=$BUILD/tests/cluster/serve_ask

circle_log "$WORK" 8 0 || exit 1

# All but each user's last event, then all items for everybody, in the order of the log.
past() {
    awk '{ n[$1]++; item[$1, n[$1]] = $2; if (n[$1] == 1) order[++users] = $1 }
    END { for (u = 1; u <= users; u++) for (i = 1; i < n[order[u]]; i++)
        printf "{\"kind\": \"events\", \"body\": {\"user_id\": \"%s\", \"events\": [{\"event_id\": \"%s-%d\", \"type\": \"click\", \"item_id\": \"%s\", \"ts\": %d}]}}\n", order[u], order[u], i, item[order[u], i], 1700000000 + i }' "$WORK/log"
    echo
}
questions() {
    awk '!($1 in met) { met[$1] = 1; printf "{\"kind\": \"recommend\", \"body\": {\"user_id\": \"%s\", \"n\": 60, \"log\": false}}\n", $1 }' "$WORK/log"
}
# The place of each user's last item among what was recommended.
places() {
    awk '{ last[$1] = $2; if (!($1 in met)) { met[$1] = 1; order[++users] = $1 } } END { for (u = 1; u <= users; u++) print last[order[u]] }' "$WORK/log" >"$WORK/targets"
    grep '^200 {"rec_id"' "$1" | paste "$WORK/targets" - | awk -F '\t' '{
        n = split($2, part, "\"item_id\": \"")
        for (i = 2; i <= n; i++) { split(part[i], id, "\""); if (id[1] == $1) { print i - 1; next } }
        print "none" }'
}
same_places() {
    places "$WORK/answers" >"$WORK/places"
    [ "$(grep -c . "$WORK/places")" = 300 ] && paste "$WORK/places" "$WORK/ranks" | awk -F '\t' '{ if ($1 != $3) { print; bad++ } } END { exit bad > 0 }'
}
ask() { "$ASK" "$WORK/run" "$WORK/$1" "${@:2}" >"$WORK/answers" && ! grep -v '^20[02] ' "$WORK/answers"; }
# one REQUEST...: lines as one batch each, answers in $WORK/answers
one() { printf '%s\n\n' "$@" | "$ASK" "$WORK/run" "$WORK/state" >"$WORK/answers"; }
says() { sed -n "$1p" "$WORK/answers" | grep -qE -- "$2" || { sed -n "$1p" "$WORK/answers"; false; }; }
first() { sed -n "$1s/.*\"items\": \[{\"item_id\": \"\([^\"]*\)\".*/\1/p" "$WORK/answers"; }

check "a job of sequences trains" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/run"
check "eval writes ranks" "$PENSTOCK" eval "$WORK/job.yaml" --snapshot "$WORK/run" --data test --predictions "$WORK/ranks"
past >"$WORK/past"
questions >"$WORK/questions"
check "the past is taken" ask state <"$WORK/past"
check "everybody is answered" ask state <"$WORK/questions"
check "all from the sequence model" bash -c "! grep -v '\"source\": \"sequence\"' $WORK/answers"
check "the target stands where eval says" same_places

one '{"kind": "recommend", "body": {"user_id": "new", "n": 3}}' \
    '{"kind": "events", "body": {"user_id": "new", "events": [{"event_id": "x1", "type": "click", "item_id": "i7"}]}}' \
    '{"kind": "recommend", "body": {"user_id": "new", "n": 3}}' \
    '{"kind": "events", "body": {"user_id": "new", "events": [{"event_id": "x2", "type": "click", "item_id": "i30"}]}}' \
    '{"kind": "recommend", "body": {"user_id": "new", "n": 3}}' \
    '{"kind": "recommend", "body": {"user_id": "new", "n": 3, "filter": {"deny": ["i31"]}}}' \
    '{"kind": "recommend", "body": {"user_id": "new", "n": 3, "filter": {"allow": ["i5", "i31", 6]}}}' \
    '{"kind": "item_put", "id": "i31", "body": {"in_stock": false, "category": "odd"}}' \
    '{"kind": "recommend", "body": {"user_id": "new", "n": 3}}' \
    '{"kind": "recommend", "body": {"user_id": "new", "n": 3, "filter": {"in_stock": false, "category": "odd"}}}' \
    '{"kind": "similar", "id": "i10", "query": {"n": "4"}}' \
    '{"kind": "similar", "id": "nowhere"}' \
    '{"kind": "rank", "body": {"user_id": "new", "items": ["i31", "i2", "unheard"]}}' \
    '{"kind": "recommend", "version": 77, "body": {"user_id": "new"}}' \
    '{"kind": "recommend", "body": {"user_id": "new", "n": 60, "filter": {"seen": false}}}'
check "nobody's history: popular items" says 1 '"source": "popular"'
check "an event changes the next answer" [ "$(first 3)" = i8 ]
check "another changes it again" [ "$(first 5)" = i31 ]
check "a denied item is left out" [ "$(first 6)" != i31 ]
check "only allowed items" says 7 '^200 .*"items": \[\{"item_id": "i31"[^]]*"i5"[^]]*\], "unknown"'
check "what is out of stock is left out" [ "$(first 9)" != i31 ]
check "and is there when asked for, by its category" says 10 '"items": \[\{"item_id": "i31", "score": [-0-9.]*\}\]'
check "similar items stand next to it" bash -c "sed -n 11p $WORK/answers | grep -qE '\"i(9|11)\"'"
check "similar to an unknown item: 404" says 12 '^404 .*no such item'
check "rank: the next item first, an unknown one counted" says 13 '"items": \[\{"item_id": "i31".*"unknown": \{"item": 1\}'
check "a version that is not kept: 404" says 14 '^404 .*not kept'
check "seen items are there when asked for" says 15 '"i30"'
finish
