#!/usr/bin/env bash
# The commands around a run as a person calls them: data, check, snap, status, --help. What they print, with which
# exit code, what a mistake is answered with, and that an interrupted conversion leaves nothing. Bad logs and
# damaged files are bad_input.sh's.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 4000 || exit 1
cd "$WORK" || exit 1
P=$PENSTOCK
rows=$(($(wc -l <shop/train.csv) - 1))

# says TEXT command...: it ends with 0 and its output has a line of TEXT.
says() {
    text=$1
    shift
    timeout 60 "$@" >says.log 2>&1 && grep -qE -- "$text" says.log && return 0
    cat says.log
    return 1
}
no_half() { ! ls "$1" | grep -q '\.tmp'; }
has_half() { ls "$1" 2>/dev/null | grep -q '\.tmp'; }

# -- help: 0, on standard output, nothing on standard error --
helps() { # helps WORD args...
    text=$1
    shift
    "$P" "$@" >help.out 2>help.err && [ ! -s help.err ] && grep -q -- "$text" help.out
}
check "--help" helps "usage: penstock COMMAND" --help
check "help" helps "usage: penstock COMMAND" help
check "--version" helps "penstock [0-9]" --version
for command in check train eval status; do
    check "$command --help" helps "usage: penstock $command" $command --help
done
check "snap --help" helps "usage: penstock snap" snap --help
check "data --help" helps "data convert" data --help
for command in inspect convert synth; do
    check "data $command --help" helps "usage: penstock data $command" data $command --help
done
check "--help=rate: keys, ranges, defaults" helps "optimizer.*rate" --help=rate
check "--help=batch: its range" helps "allowed\|1 to 16M" --help=batch
check "a word no option has: the nearest key" helps "nearest key is name" --help=nane
check "no call without help goes to standard output" sh -c "[ -z \"\$($P 2>/dev/null)\" ]"

# -- calls that are wrong: 2, with what was expected --
refuses "no command" 2 "usage: penstock COMMAND" "$P"
refuses "unknown command" 2 "trian: no such command; the nearest is train" "$P" trian
refuses "data: no word" 2 "a word is missing" "$P" data
refuses "data: unknown word" 2 "data: convret: no such command" "$P" data convret
refuses "inspect: no file" 2 "argument is missing; usage: penstock data inspect FILE" "$P" data inspect
refuses "inspect: two files" 2 "b: one argument too many" "$P" data inspect a b
refuses "convert: no job" 2 "argument is missing" "$P" data convert
refuses "convert: flag without value" 2 "--out: needs a DIR" "$P" data convert job.yaml --out
refuses "convert: unknown flag" 2 "--outt: no such flag; the nearest is --out" "$P" data convert job.yaml --outt x
refuses "convert: a job that isn't there" 2 "nothere.yaml: No such file" "$P" data convert nothere.yaml
refuses "convert: the nearest right key" 2 "data.trian: no such key; the nearest is data.train" \
    "$P" data convert job.yaml --set data.trian=x
refuses "convert: --set without a value" 2 "--set.*data.train" "$P" data convert job.yaml --set data.train
refuses "synth: no --out" 2 "--out DIR is missing" "$P" data synth shop
refuses "synth: another kind" 2 "mall: there is only one kind: shop" "$P" data synth mall --out x
refuses "synth: no number" 2 "--users: many is not a number" "$P" data synth shop --users many --out x
refuses "synth: too few" 2 "--users must be from 10" "$P" data synth shop --users 3 --out x
refuses "snap: no word" 2 "usage: penstock snap list DIR" "$P" snap
refuses "snap: unknown word" 2 "no \"lst\"" "$P" snap lst run
refuses "snap diff: one folder" 2 "takes two snapshots" "$P" snap diff run
refuses "status: no folder" 2 "argument is missing" "$P" status
refuses "status: a folder that isn't there" 2 "nothere: no such folder" "$P" status nothere
refuses "status: not a run's" 2 "no run's folder" "$P" status shop
refuses "check: no job" 2 "argument is missing" "$P" check
refuses "snap: a folder that isn't there" 3 "nothere: no such folder" "$P" snap list nothere
refuses "snap: a folder without cuts" 3 "no complete cut" "$P" snap list shop
refuses "inspect: a file that isn't there" 3 "nothere.csv: No such file" "$P" data inspect nothere.csv
refuses "inspect: a folder" 3 "shop: is a folder" "$P" data inspect shop
: >empty
refuses "inspect: an empty file" 3 "empty:1: no line" "$P" data inspect empty
head -c 5000 "$P" >binary
refuses "inspect: a binary file" 3 "binary: .*not a log|binary:1: a NUL byte" "$P" data inspect binary
check "a wrong call leaves nothing" [ ! -e x ]

# -- synth: the same seed, the same bytes; what it makes is what it says --
check "synth" says "best AUC" "$P" data synth shop --users 50 --items 60 --events 2000 --seed 3 --out one
check "synth again, elsewhere" says "best AUC" "$P" data synth shop --users 50 --items 60 --events 2000 --seed 3 --out two
check "the same bytes" sh -c "cmp one/train.csv two/train.csv && cmp one/valid.csv two/valid.csv && cmp one/test.csv two/test.csv"
check "another seed, other bytes" sh -c "$P data synth shop --users 50 --items 60 --events 2000 --seed 4 --out three && ! cmp -s one/train.csv three/train.csv"
check "as many events as asked for" [ "$(cat one/train.csv one/valid.csv one/test.csv | wc -l)" = 2003 ]
check "truth.json tells the best AUC" at_least "$(json one/truth.json auc)" .5

# -- inspect: the job it prints trains as it is --
check "inspect" says "delimited by \",\", with a header; all 3200 rows" "$P" data inspect shop/train.csv
"$P" data inspect shop/train.csv 2>/dev/null | sed -n '/^# A guess/,$p' >guess.yaml
check "the guessed job is one" says "plan: " "$P" check guess.yaml
check "it converts" says "train .* 0 " "$P" data convert guess.yaml --out guessed
gzip -c shop/train.csv >train.csv.gz
check "inspect of gzip" says "all 3200 rows" "$P" data inspect train.csv.gz

# -- convert: whole or absent; used again; made anew when something changed --
check "convert" says "train +$rows +0 +$rows" "$P" data convert job.yaml --out cache
check "no half file" no_half cache
stamp=$(stat -c %i.%Y cache/train.cache)
check "again: used again" says "cache: unchanged, used again" "$P" data convert job.yaml --out cache
check "not written again" [ "$(stat -c %i.%Y cache/train.cache)" = "$stamp" ]
check "another schema: made anew" says "lines/s" "$P" data convert job.yaml --out cache --set data.label_above=2
check "and the first one, too" says "lines/s" "$P" data convert job.yaml --out cache
sed -n '1,500p' shop/train.csv >less.csv
check "another log: made anew" says "train +499 +0" "$P" data convert job.yaml --out cache --set data.train=less.csv
sed -n '500,600p' shop/train.csv >>less.csv
check "a log that grew: made anew" says "train +600 +0" "$P" data convert job.yaml --out cache --set data.train=less.csv
check "default folder: beside the job" says "job.cache: " "$P" data convert job.yaml
stamp=$(stat -c %i.%Y job.cache/train.cache)
check "train" says "applied $((2 * rows)), doubled 0, skipped 0" "$P" train job.yaml --out run --set data.cache=job.cache
check "train used that cache" [ "$(stat -c %i.%Y job.cache/train.cache)" = "$stamp" ]

# -- interrupted: by a signal, by kill -9; a log large enough to be met in the middle --
head -n 1 shop/train.csv >big.csv
for i in 1 2 3 4 5; do tail -n +2 shop/train.csv; done >part
for i in $(seq 1 100); do cat part; done >>big.csv
big=$(($(wc -l <big.csv) - 1))
for sig in INT TERM KILL; do
    rm -rf broken
    "$P" data convert job.yaml --out broken --set data.train=big.csv >broken.log 2>&1 &
    pid=$!
    check "$sig: converting" eventually 20 has_half broken
    kill -$sig $pid
    wait $pid 2>/dev/null
    code=$?
    check "$sig: no cache" [ ! -e broken/train.cache ]
    if [ $sig != KILL ]; then
        check "$sig: code 1" [ $code = 1 ]
        check "$sig: it says so" grep -q "interrupted" broken.log
        check "$sig: no half file" no_half broken
    fi
    check "$sig: the next one works" says "train +$rows +0" "$P" data convert job.yaml --out broken
    check "$sig: and clears up" no_half broken
done
check "the whole of it" says "train +$big +0 +$big" "$P" data convert job.yaml --out broken --set data.train=big.csv

# -- check: the resolved job is a job, and resolves to itself --
check "check" says "plan: 1 shards on 1 servers, 1 workers" "$P" check job.yaml
"$P" check job.yaml 2>/dev/null | sed '/^# plan/,$d' >resolved.yaml
"$P" check resolved.yaml 2>/dev/null | sed '/^# plan/,$d' >again.yaml
check "the resolved job resolves to itself" cmp resolved.yaml again.yaml
check "--set is in it" says "batch: 77$" "$P" check job.yaml --set train.batch=77
check "check writes nothing" [ ! -e job ]

# -- snap, status: of the run above, two cuts --
check "snap list: both cuts, the best marked" says " 2 .* best" "$P" snap list run
check "snap list --json" says '"k": 2' "$P" snap list run --json
check "snap show: tables, tensors, files" says "^dense.mlp.0.weight +16 x 25" "$P" snap show run
check "snap show of a cut" says "^cut 1 of run" "$P" snap show run@1
check "snap verify: every cut" says "cut 2: whole" "$P" snap verify run
check "snap verify: one cut" says "cut 1: whole" "$P" snap verify run@1
check "snap diff with itself: equal, 0" "$P" snap diff run@2 run@2
refuses "snap diff of two cuts: they differ, 1" 1 "embedding" "$P" snap diff run@1 run@2
refuses "a cut that isn't there" 3 "there is no cut 99 \(snap list run\)" "$P" snap show run@99
check "status of an ended run" says "not running; last complete cut 2, best 2.*applied $((2 * rows)) records" "$P" status run
cut=$(ls run/data/2.*.safetensors | head -n 1)
mv "$cut" gone
refuses "a file of a cut is gone" 3 "$(basename "$cut"): (No such|is missing)" "$P" snap verify run
head -c 1000 gone >"$cut"
refuses "a file of a cut is short" 3 "$(basename "$cut")" "$P" snap verify run
mv gone "$cut"
check "put back, it verifies" "$P" snap verify run

# -- status while it runs --
"$P" train job.yaml --out live --set train.epochs=2000 --set train.plateau.patience=0 >live.log 2>&1 &
front=$!
check "status of a run: running" eventually 30 says "^running: .*epoch [0-9]+/2000" "$P" status live
check "a cut" eventually 30 test -e live/cuts/1.json
check "status --json" says '"phase": ' "$P" status live --json
kill -INT $front
wait $front
check "INT ends it" eventually 5 none_left "$WORK/live"
check "status then: --resume goes on" says "not running; last complete cut" "$P" status live
check "nothing is left running" none_left "$WORK"
finish
