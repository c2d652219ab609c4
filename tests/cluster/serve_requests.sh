#!/usr/bin/env bash
# What a request may not be: each is refused with what was expected, and nothing happens. And a click model's
# recommendations, and that of a deleted user nothing is used.
. "$(dirname "$0")/../support/cluster.sh"
ASK=$BUILD/tests/cluster/serve_ask

small_shop "$WORK" 5000
check "a shop trains" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/run" --set train.epochs=1
items=($(awk -F, 'NR > 1 { print $4 }' "$WORK/shop/train.csv" | sort | uniq -c | sort -rn | awk '{ print $2 }' | head -n 15))
known=$(awk -F, 'NR > 1 { print $3; exit }' "$WORK/shop/train.csv")

# refused NAME KIND REST TEXT [CODE]: one line each, all asked at once below
names=() wants=()
refused() {
    names+=("$1") wants+=("^${5:-400} .*$4")
    echo "{\"kind\": \"$2\", $3}" >>"$WORK/bad"
}
long=$(printf 'x%.0s' $(seq 600))
many=$(seq -s, 1001)
refused "no body" rank '"x": 1' 'expected a JSON object'
refused "a list for a body" rank '"body": []' 'expected a JSON object'
refused "a key nobody knows" rank '"body": {"itmes": [1]}' 'itmes: no such key; expected user_id, items'
refused "no items" rank '"body": {"user_id": 1}' 'items: expected a list of 1 to 1000'
refused "an empty list of items" rank '"body": {"items": []}' 'items: expected a list of 1 to 1000'
refused "too many items" rank "\"body\": {\"items\": [$many]}" 'items: expected a list of 1 to 1000'
refused "an item without an id" rank '"body": {"items": [{"price": 3}]}' 'items\[0\].item_id is missing'
refused "a fraction as an id" rank '"body": {"items": [1.5]}' 'items\[0\]: expected an id: a text or a whole number'
refused "an empty id" rank '"body": {"items": [""]}' 'an id of 0 bytes; expected 1 to 512'
refused "a long id" rank "\"body\": {\"items\": [\"$long\"]}" 'an id of 600 bytes'
refused "a control character in an id" rank '"body": {"items": ["a\u0001"]}' 'a control character'
refused "a context of another field" rank '"body": {"items": [1], "context": {"pirce": 3}}' 'context.pirce: the job has no such field'
refused "a text for a float" rank '"body": {"items": [1], "context": {"price": "cheap"}}' 'context.price: .*cheap.*expected a finite number'
refused "NaN" rank '"body": {"items": [1], "context": {"price": "NaN"}}' 'context.price: .*NaN.*expected a finite number'
refused "infinity" rank '"body": {"items": [{"item_id": 1, "price": "inf"}]}' 'items\[0\].price: .*inf.*expected a finite number'
refused "a number beyond all floats" rank '"body": {"items": [1], "context": {"price": 1e99}}' 'context.price'
refused "a list for one id" rank '"body": {"items": [1], "context": {"category": [1, 2]}}' 'only fields of type ids'
refused "an object for a cell" rank '"body": {"items": [1], "context": {"category": {}}}' 'context.category: expected a text'
refused "a time that is none" rank '"body": {"items": [1], "time": "yesterday"}' 'time: .*expected seconds since 1970 or a date'
refused "a version that is no number" rank '"body": {"items": [1], "version": -3}' 'version: expected the number of a cut'
refused "n of 0" rank '"body": {"items": [1], "n": 0}' 'n: expected a whole number from 1'
refused "n beyond its bound" recommend '"body": {"n": 501}' 'n: expected a whole number from 1 to 500'
refused "a filter that is none" recommend '"body": {"filter": [1]}' 'filter: expected an object'
refused "a filter of another name" recommend '"body": {"filter": {"unseen": true}}' 'filter.unseen: no such key; expected seen'
refused "a filter that is no truth value" recommend '"body": {"filter": {"seen": "yes"}}' 'seen: expected true or false'
refused "no events" events '"body": {"user_id": 1, "events": []}' 'events: expected a list of 1 to 1000'
refused "an event without an id" events '"body": {"user_id": 1, "events": [{"type": "click", "item_id": 1}]}' 'events\[0\]: event_id is missing'
refused "an event without a user" events '"body": {"events": [{"event_id": 1, "type": "click", "item_id": 1}]}' 'events\[0\]: user_id is missing'
refused "a value that is no number" events '"body": {"user_id": 1, "events": [{"event_id": 1, "type": "rate", "item_id": 1, "value": "5"}]}' 'events\[0\]: value: expected a number'
refused "the second event is bad: none is taken" events '"body": {"user_id": "whole", "events": [{"event_id": 2, "type": "click", "item_id": 1}, {"event_id": 3}]}' 'events\[1\]: item_id is missing'
refused "a profile with a text for a float" user_put '"id": "whole", "body": {"fields": {"price": "dear"}}' 'fields.price: .*dear'
refused "a category given twice" item_put '"id": "i", "body": {"category": 1, "fields": {"category": 2}}' 'category stands in fields, too'
fields=$(seq 256 | sed 's/.*/"f&": 1/' | paste -sd,)
refused "as many fields as there may be, and a category" item_put '"id": "i", "body": {"category": 1, "fields": {'"$fields"'}}' 'more than 256 fields, with category'
refused "nothing of these was kept" user_get '"id": "whole"' 'no such user' 404
refused "similar: n of a query" similar '"id": "i1", "query": {"n": "many"}' 'n: expected a whole number'
"$ASK" "$WORK/run" "$WORK/state" <"$WORK/bad" >"$WORK/answers" 2>"$WORK/errors"
for i in "${!names[@]}"; do
    check "${names[$i]}" bash -c 'sed -n "$1p" "$2" | grep -qE -- "$3" || { sed -n "$1p" "$2"; false; }' - $((i + 1)) "$WORK/answers" "${wants[$i]}"
done

# ---- a click model recommends popular items, ranked; a deleted user is nobody ----
ask() { printf '%s\n\n' "$@" | "$ASK" "$WORK/run" "$WORK/state" >"$WORK/answers" 2>/dev/null; }
score() { sed -n "$1s/.*\"score\": \([-0-9.e]*\).*/\1/p" "$WORK/answers"; }
events=$(for i in $(seq 1 15); do for n in $(seq 1 $((16 - i))); do echo "{\"event_id\": \"p$i-$n\", \"type\": \"click\", \"item_id\": \"${items[$((i - 1))]}\"}"; done; done | paste -sd,)
ask '{"kind": "rank", "body": {"items": ["i1"]}}' \
    '{"kind": "rank", "body": {"user_id": "'"$known"'", "items": ["i1"]}}' \
    '{"kind": "user_delete", "id": "'"$known"'"}' \
    '{"kind": "rank", "body": {"user_id": "'"$known"'", "items": ["i1"]}}' \
    '{"kind": "events", "body": {"user_id": "p", "events": ['"$events"']}}' \
    '{"kind": "tick"}' \
    '{"kind": "recommend", "body": {"user_id": "q", "n": 5, "log": false}}' \
    '{"kind": "recommend", "body": {"user_id": "p", "n": 5}}' \
    '{"kind": "similar", "id": "'"${items[0]}"'", "query": {"n": "5"}}' \
    '{"kind": "rank", "body": {"user_id": "q", "items": ["i1", "i2"], "n": 1, "outputs": true}}'
check "a user the model knows has a score of his own" [ "$(score 1)" != "$(score 2)" ]
check "deleted, he has nobody's" [ "$(score 1)" = "$(score 4)" ]
check "recommended: popular items, ranked" bash -c "sed -n 6p $WORK/answers | grep '\"source\": \"ranked\"' | grep -o item_id | wc -l | grep -qx 5"
check "none that the user has seen" bash -c "sed -n 7p $WORK/answers | grep -q '\"items\": \[\]'"
check "similar: five, by their cosine" bash -c "sed -n 8p $WORK/answers | grep -o item_id | wc -l | grep -qx 6"
check "n of the ranked, with outputs" bash -c "sed -n 9p $WORK/answers | grep -q '\"outputs\": {\"probability\": '"
finish
