#!/usr/bin/env bash
# `penstock ab` as a person calls it: published assignment numbers, the example experiment, sums in and statistics out,
# simulated tests, and what each mistake is answered with. The mathematics is tests/unit/metrics_ab_*.c's.
. "$(dirname "$0")/../support/cluster.sh"
P=$PENSTOCK
EXAMPLE=$ROOT/launch/jobs/experiment.yaml
cd "$WORK" || exit 1

is() { # is WANTED command...: it ends with 0 and prints exactly this
    wanted=$1
    shift
    got=$(timeout 60 "$@") && [ "$got" = "$wanted" ] && return 0
    echo "got: $got"
    return 1
}

# -- hash --
check "hash version 2" is 0.0505 "$P" ab hash --seed seed --version 2 -- a
check "hash is version 2 by default" is 0.2575 "$P" ab hash --seed foo -- ab
check "hash version 1" is 0.946 "$P" ab hash --seed b --version 1 -- a
check "hash of no seed" is 0.22 "$P" ab hash --version 1 --seed "" -- a
check "hash of odd characters" is 0.0128 "$P" ab hash --seed '()**(%$##$%#$#' -- '___)((*":&'
check "hash of a value like a flag" is 0.4073 "$P" ab hash --seed seed -- --seed
check "hash murmur3" is 0.2434 "$P" ab hash --version murmur3 --seed 1886780722 -- ppid2
check "namespace" is 0.812 "$P" ab hash --namespace namespace2 -- 2
refuses "ab hash: another version" 2 "no 99; there are 1, 2 and murmur3" "$P" ab hash --version 99 --seed abc -- def
refuses "ab hash: no value" 2 "argument is missing" "$P" ab hash --seed abc

# -- assign, check --
cat >exp.yaml <<'YAML'
name: x
seed: seed
variants: [{name: a, weight: .2}, {name: b, weight: .8}, {name: s, version: 7, shadow: true}]
YAML
check "assign" is "a	a
b	b" "$P" ab assign exp.yaml -- a b
seq 2000 >ids
"$P" ab assign exp.yaml <ids >dealt
check "assign from standard input: all of them" [ "$(wc -l <dealt)" = 2000 ]
check "assign: a fifth gets a, nobody the shadow" awk '{ n[$2]++ } END { exit !(n["a"] > 330 && n["a"] < 470 && n["a"] + n["b"] == NR) }' dealt
"$P" ab check "$EXAMPLE" >resolved.yaml
"$P" ab assign "$EXAMPLE" <ids >one
"$P" ab assign resolved.yaml <ids >two
check "ab check prints an experiment that deals alike" cmp one two
check "the example leaves users out" awk '$2 == "-" { out++ } END { exit !(out > NR / 2) }' one
head -c 5000 /dev/zero | tr '\0' x >long
refuses "ab assign: an id without end" 2 "standard input:1: an id of more than 4096 bytes" sh -c "$P ab assign exp.yaml <long"

# -- calc --
cat >sums.json <<'JSON'
{"arms": [{"n": 3000, "sum": 1396.87, "sum_squares": 52377.9767}, {"n": 3461, "sum": 2422.7, "sum_squares": 134698.29}],
 "n_star": 1000}
JSON
"$P" ab calc sums.json >out.json
check "calc: the published interval" awk '/"relative"/ { r = 1 } r && /"sequential"/ { s = 1 }
    s && /"from"/ { gsub(/[",]/, ""); exit !($2 < -.55843 && $2 > -.55845) }' out.json
check "calc: mismatch by chi-square" awk '/"p"/ { gsub(/,/, ""); exit !($2 < 1e-8) }' out.json

# -- aa --
"$P" ab aa --tests 200 --users 1000 --lift 0 --lift .5 >aa.txt
check "aa: the sequence keeps its promise, the t-test doesn't" awk '$1 == "+0.0%" { exit !($2 + 0 <= 5 && $3 + 0 > 20) }' aa.txt
"$P" ab aa --tests 200 --users 1000 --lift 0 --lift .5 >again.txt
check "aa: the same seed, the same figures" cmp aa.txt again.txt
"$P" ab aa --tests 20 --users 100 --lift 0 --metric mean --json >aa.json
check "aa: JSON" grep -q '"t_every_look":' aa.json
refuses "ab aa: too much of it" 2 "--tests must be from 1" "$P" ab aa --tests 1G --users 1G
refuses "ab aa: no number" 2 "--rate: many is not a number" "$P" ab aa --rate many
refuses "ab aa: more than everybody buys" 2 "--lift: 3 times --rate is above 1" "$P" ab aa --rate .5 --lift 2
refuses "ab aa: another metric" 2 "--metric: median is not proportion or mean" "$P" ab aa --metric median

# -- the call --
check "ab --help" is "" sh -c "$P ab --help 2>&1 >/dev/null"
for word in hash assign check calc aa; do
    check "ab $word --help" sh -c "$P ab $word --help | grep -q 'usage: penstock ab $word'"
done
refuses "ab: no word" 2 "a word is missing" "$P" ab
refuses "ab: unknown word" 2 "report9: no such command" "$P" ab report9

finish
