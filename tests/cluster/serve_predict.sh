#!/usr/bin/env bash
# A served score is the score that eval gives: a shop's job with histories is trained, its people's past is given to a
# serving node as events, and every record of the test log is asked for, by profile, context and history.
. "$(dirname "$0")/../support/cluster.sh"
ASK=$BUILD/tests/cluster/serve_ask

"$PENSTOCK" data synth shop --users 400 --items 200 --events 20000 --seed 7 --out "$WORK/shop" >"$WORK/synth.log" 2>&1
cat >"$WORK/job.yaml" <<YAML
data:
  root: $WORK
  train: shop/train.csv
  valid: shop/valid.csv
  test: shop/test.csv
  fields:
    - {name: click, type: label}
    - {name: time, type: time}
    - {name: user, type: user, min_count: 5}
    - {name: item, type: item}
    - {name: category, type: id}
    - {name: hour, type: id}
    - {name: user_segment, type: id}
    - {name: liked, type: history, of: item, max: 10, when: positive}
    - {name: shown, type: history, of: item, max: 5}
    - {name: kinds, type: history, of: category, max: 7}
    - {name: mood, type: history, of: click, max: 20}
    - {name: price, type: float, norm: standard}
model: {family: dcnv2, embedding: 8, embedding_init: .01, hidden: [32, 16], cross: 2, dropout: .1, pooling: mean, batch_norm: true}
optimizer: {embedding: {kind: adam, rate: 1e-3}}
train: {epochs: 2, batch: 256, seed: 3}
YAML

# What is known of people and things, and all that happened. Columns of the log:
# time,session,user,item,category,brand,price,hour,position,device,user_segment,click,cart,buy
past() {
    cat "$WORK"/shop/train.csv "$WORK"/shop/valid.csv "$WORK"/shop/test.csv | awk -F, '
    $1 == "time" { next }
    !($4 in item) { item[$4] = 1
        printf "{\"kind\": \"item_put\", \"id\": \"%s\", \"body\": {\"fields\": {\"category\": \"%s\", \"price\": %s}}}\n", $4, $5, $7 }
    !($3 in user) { user[$3] = 1
        printf "{\"kind\": \"user_put\", \"id\": \"%s\", \"body\": {\"fields\": {\"user_segment\": \"%s\"}}}\n", $3, $11 }
    { printf "{\"kind\": \"events\", \"body\": {\"user_id\": \"%s\", \"events\": [{\"event_id\": \"e%d\", \"type\": \"%s\", \"item_id\": \"%s\", \"ts\": %s}]}}\n",
        $3, NR, $12 == 1 ? "click" : "impression", $4, $1 }
    NR % 500 == 0 { print "" }'
    echo
}
# A question for each record of test. questions EACH: so many a batch
questions() {
    awk -F, -v each="$1" 'NR > 1 { printf "{\"kind\": \"rank\", \"body\": {\"user_id\": \"%s\", \"items\": [\"%s\"], \"time\": %s, \"context\": {\"hour\": %s}, \"log\": false}}\n", $3, $4, $1, $8 }
        NR > 1 && (NR - 1) % each == 0 { print "" }' "$WORK/shop/test.csv"
}
# The same without a past: all a record has stands in the question.
bare() {
    awk -F, 'NR > 1 { printf "{\"kind\": \"rank\", \"body\": {\"user_id\": \"%s\", \"items\": [{\"item_id\": \"%s\", \"category\": \"%s\", \"price\": %s}], \"context\": {\"hour\": %s, \"user_segment\": \"%s\"}}}\n", $3, $4, $5, $7, $8, $11 }' "$WORK/shop/test.csv"
}
# ask STATE OPTION... : standard input to standard output; fails if anything was refused
ask() { "$ASK" "$WORK/run" "$WORK/$1" history=1000 "${@:2}" | tee "$WORK/answers" | awk '!/^20[02] / { print; bad = 1 } END { exit bad }'; }
# scores: one a line, of the answers that have some
scores() { sed -n 's/^200 .*"score": \([-0-9.e]*\).*/\1/p' "$1"; }
# same TOLERANCE ANSWERS PREDICTIONS
same() {
    scores "$2" >"$WORK/scores"
    paste "$WORK/scores" "$3" | awk -F '\t' -v t="$1" '{ d = sprintf("%.9g", $1) - $4; if (d < 0) d = -d; if (d > most) most = d; n++ }
        END { print n " scores, largest difference " most; exit !(n > 1000 && most <= t) }' | tee "$WORK/same"
    [ "${PIPESTATUS[1]}" = 0 ] && [ "$(wc -l <"$WORK/scores")" = "$(wc -l <"$3")" ]
}

differ() { ! same "$@" && grep -q "scores, largest" "$WORK/same"; }

check "a shop's job with histories trains" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/run"
check "eval writes predictions" "$PENSTOCK" eval "$WORK/job.yaml" --snapshot "$WORK/run" --data test --predictions "$WORK/predictions"
past >"$WORK/past"
questions 100 >"$WORK/hundreds"
questions 4096 >"$WORK/one"
bare >"$WORK/bare"
check "the past is taken" ask state <"$WORK/past"
check "everything is answered, by the hundred" ask state <"$WORK/hundreds"
check "scores are those of eval within 1e-6" same 1e-6 "$WORK/answers" "$WORK/predictions"
say "        $(cat "$WORK/same")"
check "everything is answered, in the batch of eval" ask state batch=4096 <"$WORK/one"
check "scores are those of eval, digit for digit" same 0 "$WORK/answers" "$WORK/predictions"
check "everything is answered, on a node without a past" ask empty <"$WORK/bare"
check "and scores are others" differ 1e-3 "$WORK/answers" "$WORK/predictions"
finish
