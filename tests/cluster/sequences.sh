#!/usr/bin/env bash
# Next-item models, end to end, on a made-up log: everybody goes from item to item in a circle, so what comes next is
# plain to see. Ranks in the report, baselines beside it, eval and its predictions, what is refused; 2 x 2 as well.
. "$(dirname "$0")/../support/cluster.sh"

circle_log "$WORK" 12 || exit 1

train() { "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$1" "${@:2}"; }
# figure RUN PART KEY: from the report's object of that part
figure() { sed -n "/^  \"$2\"/,/^  }/p" "$WORK/$1/report.json" | sed -n "s/.*\"$3\": *\([0-9.e+-]*\).*/\1/p" | head -n 1; }
# baseline RUN NAME KEY: the last of valid and test
baseline() { sed -n '/^  "baselines"/,/^  }/p' "$WORK/$1/report.json" | sed -n "/\"$2\"/,/}/p" | sed -n "s/.*\"$3\": *\([0-9.e+-]*\).*/\1/p" | tail -n 1; }
exact() { [ "$(json "$WORK/$1/report.json" applied)" = $((300 * 12)) ] && [ "$(json "$WORK/$1/report.json" doubled)" = 0 ] && [ "$(json "$WORK/$1/report.json" skipped)" = 0 ]; }
judge() { "$PENSTOCK" eval "$WORK/job.yaml" --snapshot "$WORK/one" "$@"; }
# The mean of 1 / rank is the report's MRR.
same_mrr() { awk -F '\t' -v mrr="$(figure one test mrr)" '{ s += 1 / $2 } END { d = s / NR - mrr; exit !(d < 1e-6 && d > -1e-6) }' "$WORK/ranks"; }

check "one worker trains" train one
check "each record once" exact one
check "test HR@10 >= .95" at_least "$(figure one test hr10)" .95
check "test NDCG@10 >= .8" at_least "$(figure one test ndcg10)" .8
check "valid MRR >= .7" at_least "$(figure one valid mrr)" .7
check "the targets' loss is there" at_least 3 "$(figure one test loss)"
check "popularity knows nothing of it" at_least .5 "$(baseline one popularity hr10)"
check "EASE is beside it" at_least "$(baseline one ease hr10)" .01
check "eval judges test" judge
check "eval writes predictions" judge --predictions "$WORK/ranks"
check "predictions: record and rank" awk -F '\t' 'NF != 2 || $1 != NR - 1 || $2 < 1 { exit 1 } END { exit NR != 300 }' "$WORK/ranks"
check "predictions are the report's" same_mrr
# Later events of users that the job knows, and of one that it does not: histories are the job's, then the file's.
awk '{ last[$1] = $2 } END { for (u = 0; u < 100; u++) { split(last["u" u], i, "i"); print "u" u, "i" (i[2] + 1) % 60;
    print "u" u, "i" (i[2] + 2) % 60 } print "nobody", "i3"; print "nobody", "i4" }' "$WORK/log" >"$WORK/later"
check "eval of a file of events" judge --data "$WORK/later" --predictions "$WORK/later.ranks" --json
cp "$WORK/check.log" "$WORK/later.json"
check "a record an event with something before it" test "$(wc -l <"$WORK/later.ranks")" -eq 201
check "eval of a file: HR@10 >= .9" at_least "$(sed -n 's/^  "hr10": \([0-9.]*\),/\1/p' "$WORK/later.json")" .9
# The first record of a batch whose loss is no number is named; a model that ranks has no logits to find another by.
blow="--set optimizer.embedding.kind=sgd --set optimizer.embedding.rate=100 --set optimizer.dense.kind=sgd --set optimizer.dense.rate=100"
check "a loss that is no number" train bad $blow --set train.clip=0 --set train.grad_max=1e30 --set train.epochs=1 --set train.ease=0
check "it is said where" grep -qE "loss -?(nan|inf) in records \\[[0-9]+, [0-9]+\\) of epoch 0, first at $WORK/log byte [0-9]+ \\(record [0-9]+\\)" "$WORK/bad/log/worker-0.log"
refuses "eval of train" 2 "records of train have no target" "$PENSTOCK" eval "$WORK/job.yaml" --snapshot "$WORK/one" --data train
refuses "the AUC of ranks" 2 "has no AUC" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/none" --set train.metric=auc
check "2 x 2, sampled" train two --servers 2 --workers 2 --set model.loss=sampled --set model.negatives=20
check "2 x 2: each record once" exact two
check "2 x 2: test HR@10 >= .9" at_least "$(figure two test hr10)" .9
check "2 x 2: no process left" none_left "$WORK/two"
check "gru, one against one, judged by the loss" train gru --set model.family=gru --set model.loss=bce --set train.metric=logloss --set train.ease=0
check "gru: test HR@10 >= .5" at_least "$(figure gru test hr10)" .5
check "without EASE" [ -z "$(baseline gru ease hr10)" ]
finish
