#!/usr/bin/env bash
# Several labels, end to end: click, cart and buy of the shop, some cells empty, one model of three tasks. Figures by task and
# by user in the report, in eval, in its predictions, from which they are worked out once more; over several ranks, too.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1
cd "$WORK" || exit 1

# Every fifth cart and every third buy was never recorded, and four users are unknown.
for f in train valid; do
    awk -F, -v OFS=, 'NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; print; next }
        NR % 5 == 0 { $at["cart"] = "" } NR % 3 == 0 { $at["buy"] = "" } $at["user"] < 5 { $at["user"] = "" } { print }' \
        "shop/$f.csv" >"$f.csv"
done
sed 's|shop/||; s|- {name: click, type: label}|&\n    - {name: cart, type: label, weight: 2}\n    - {name: buy, type: label}|
    s|family: mlp|family: multitask, tower: [8]|; s|l2: 1e-4, l2_mode: exact||' job.yaml >tasks.yaml
rows=$(($(wc -l <train.csv) - 1))

train() { "$PENSTOCK" train tasks.yaml --out "$1" "${@:2}" >"$1.out" 2>&1 || { tail -n 5 "$1.out"; return 1; }; }
exact() { [ "$(json "$1/report.json" applied)" = $((2 * rows)) ] && [ "$(json "$1/report.json" doubled)" = 0 ] && [ "$(json "$1/report.json" skipped)" = 0 ]; }
# figure RUN TASK KEY: of valid
figure() { sed -n '/^  "valid"/,/^  }/p' "$1/report.json" | sed -n '/"tasks"/,$p' | sed -n "/\"task\": \"$2\"/,/}/p" | sed -n "s/.*\"$3\": *\([0-9.e+-]*\).*/\1/p" | head -n 1; }
near() { awk -v a="$1" -v b="$2" -v by="$3" 'BEGIN { d = a - b; exit !(a != "" && b != "" && d <= by && d >= -by) }'; }
# by_hand LABEL_COLUMN [user]: AUC (of each user, weighted by records) of what eval predicted, pair by pair.
by_hand() {
    awk -F, -v OFS='\t' 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "user") u = i; next } { print $u }' valid.csv |
        paste - predictions | awk -F '\t' -v c="$1" -v by_user="${2:-}" '
        $(c + 1) == "" || (by_user && $1 == "") { next }
        { g = by_user ? $1 : "all"; n[g]++; y[g, n[g]] = $(c + 1); p[g, n[g]] = $(c + 2) }
        END {
            for (g in n) {
                pairs = good = 0
                for (i = 1; i <= n[g]; i++) if (y[g, i] == 1) for (j = 1; j <= n[g]; j++) if (y[g, j] == 0) {
                    pairs++
                    good += p[g, i] > p[g, j] ? 1 : p[g, i] == p[g, j] ? .5 : 0
                }
                if (pairs > 0) { sum += n[g] * good / pairs; all += n[g] }
            }
            printf "%.9f", sum / all
        }'
}
epoch_gauc() { grep -a 'Epoch 2/2 done' "$1.out" | grep -oE 'GAUC [0-9.]+' | cut -d ' ' -f 2; }
final_gauc() { sed -n 's/^ *valid GAUC *\([0-9.]*\) .*/\1/p' "$1.out"; }

check "2 x 2 trains, judged by GAUC of cart" train two --servers 2 --workers 2 --set train.metric=gauc --set train.task=cart
check "each record once" exact two
check "a line an epoch with each task" grep -aqE 'valid AUC click [0-9.]+ cart [0-9.]+ buy [0-9.]+, logloss .*, base rate' two.out
check "two ranks' GAUC is that of one process" near "$(epoch_gauc two)" "$(final_gauc two)" .0000101
check "the judged task stands above" [ "$(json two/report.json task)" = cart ]
check "click: all records" [ "$(figure two click records)" = $(($(wc -l <valid.csv) - 1)) ]
check "buy: those with a label" [ "$(figure two buy records)" = "$(awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "buy") b = i; next } $b != ""' valid.csv | wc -l)" ]
check "what is unknown is counted" [ "$(figure two click gauc_unknown_records)" -gt 0 ]
check "eval writes a label and a probability a task" "$PENSTOCK" eval tasks.yaml --snapshot two --data valid --predictions predictions --set train.metric=gauc --set train.task=cart
check "predictions: seven columns" awk -F '\t' 'NF != 7 || $1 != NR - 1 { exit 1 }' predictions
for t in click:2 cart:4 buy:6; do
    check "${t%:*}: AUC by hand" near "$(by_hand "${t#*:}")" "$(figure two "${t%:*}" auc)" 1e-4
    check "${t%:*}: GAUC by hand" near "$(by_hand "${t#*:}" user)" "$(figure two "${t%:*}" gauc)" 1e-6
    check "${t%:*}: something is learned" at_least "$(figure two "${t%:*}" auc)" .55
done
check "bsp, four ranks" train bsp --servers 2 --workers 4 --set train.consistency=bsp --set train.metric=gauc
check "four ranks' GAUC is that of one process" near "$(epoch_gauc bsp)" "$(final_gauc bsp)" .0000101
check "an asked stop and resume keep the tasks" train two --resume --set train.epochs=3 --set train.metric=gauc --set train.task=cart
refuses "a task that isn't there" 2 "train.task: .bought. is no field of type label .there are click, cart, buy" "$PENSTOCK" check tasks.yaml --set train.task=bought
refuses "two labels of a family of one" 2 "3 of type label .exactly one is needed; model.family=multitask" "$PENSTOCK" check tasks.yaml --set model.family=mlp
refuses "one label of a family of several" 2 "1 of type label .model.family=multitask learns 2 to 8" "$PENSTOCK" check job.yaml --set model.family=multitask
refuses "GAUC without users" 2 "gauc needs a field of type user" sh -c "sed 's/type: user/type: id/' tasks.yaml >bad.yaml; $PENSTOCK check bad.yaml --set train.metric=gauc"
check "no process left" none_left "$WORK"
finish
