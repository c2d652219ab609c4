#!/usr/bin/env bash
# Bad input, each with its message and exit code, and nothing half-written.
#
# `bad_input.sh --table` prints them as the table of tests/README.md, "Bad input, and what is said".
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 4000 || exit 1
cd "$WORK" || exit 1

P=$PENSTOCK
# As somebody who may not read everything: nobody, where we are root.
chmod 755 "$WORK"
somebody=
[ "$(id -u)" = 0 ] && somebody="setpriv --reuid 65534 --regid 65534 --clear-groups"
train() { echo "$P train job.yaml --out run --force"; }
job() { # job 'sed script': a changed job file
    sed "$1" job.yaml >bad.yaml
}

# -- the call and the job file: 2 --
refuses "no command" 2 "usage" "$P"
refuses "unknown command" 2 "no such command" "$P" trian
refuses "unknown flag" 2 "nearest is --servers" "$P" train job.yaml --server 2
refuses "missing job file" 2 "nothere.yaml" "$P" train nothere.yaml
job 's/batch:/bacth:/'
refuses "unknown key" 2 "bad.yaml:[0-9]+:[0-9]+: train.bacth.*nearest.*train.batch" "$P" check bad.yaml
job 's/batch: 256/batch: 0/'
refuses "out of range" 2 "bad.yaml:[0-9]+:[0-9]+: train.batch" "$P" check bad.yaml
job 's/batch: 256/batch: many/'
refuses "wrong type" 2 "bad.yaml:[0-9]+:[0-9]+: train.batch.*many" "$P" check bad.yaml
job 's/rate: 1e-3/rate: nan/'
refuses "nan" 2 "rate.*nan" "$P" check bad.yaml
job 's/rate: 1e-3/rate: 1e400/'
refuses "1e400" 2 "rate.*1e400" "$P" check bad.yaml
job 's/family: mlp/family: deepfm9/'
refuses "unknown family" 2 "model.family.*dcnv2" "$P" check bad.yaml
job 's/type: label/type: id/'
refuses "no label" 2 "label" "$P" check bad.yaml
job 's/{name: item, type: item}/{name: cart, type: label}/'
refuses "two labels of a family that learns one" 2 "2 of type label .*multitask" "$P" check bad.yaml
refuses "a task that isn't there" 2 "train.task: .bought. is no field of type label .there are click, cart" "$P" check bad.yaml --set model.family=multitask --set train.task=bought
job 's/type: user/type: id/'
refuses "GAUC without users" 2 "gauc needs a field of type user" "$P" check bad.yaml --set train.metric=gauc
printf 'a: &x [1]\nb: *x\n' >bad.yaml
refuses "anchor and alias" 2 "bad.yaml:1:[0-9]+: .*anchor" "$P" check bad.yaml
awk 'BEGIN { for (i = 0; i < 2000; i++) printf "["; print "" }' >bad.yaml
refuses "YAML bomb (depth)" 2 "bad.yaml:.*de(ep|pth)" "$P" check bad.yaml
head -c 3000000 /dev/zero | tr '\0' 'a' >bad.yaml
refuses "YAML too large" 2 "bad.yaml.*(large|bytes)" "$P" check bad.yaml
head -c 3000 /dev/zero | tr '\0' '\377' >bad.yaml
refuses "binary job file" 2 "bad.yaml:1:1: not a text" "$P" check bad.yaml
: >bad.yaml
refuses "empty job file" 2 "bad.yaml" "$P" check bad.yaml
head -c 300 job.yaml >bad.yaml
refuses "truncated job file" 2 "bad.yaml:[0-9]+" "$P" check bad.yaml
refuses "a folder as job file" 2 "shop: is a folder" "$P" check shop
refuses "bad --set" 2 "train.bathc" "$P" check job.yaml --set train.bathc=3
refuses "a step with fewer records than workers" 2 "train.batch" "$P" check job.yaml --set train.consistency=ssp --set train.batch=3 --set cluster.workers=4
refuses "slices that are no power of two" 2 "train.slices" "$P" check job.yaml --set train.consistency=bsp --set train.slices=6
refuses "windows of a log that has none" 2 "train.window: does not apply here" "$P" check job.yaml --set train.window=true
refuses "one fold" 2 "folds: 1 is not between 2 and" "$P" submit job.yaml --folds 1 --print
refuses "fewer shards than servers" 2 "cluster.shards" "$P" check job.yaml --set cluster.servers=4 --set cluster.shards=2

# -- experiments and sums of A/B tests: 2 --
exp() { printf "name: x\n$1\n" >exp.yaml; }
refuses "missing experiment file" 2 "nothere.yaml" "$P" ab check nothere.yaml
exp 'coverag: .5\nvariants: [{name: a}, {name: b}]'
refuses "experiment: unknown key" 2 "exp.yaml:2:1: coverag.*nearest is coverage" "$P" ab check exp.yaml
exp 'variants: [{name: a}, {name: b, version: 3, stream: s}]'
refuses "experiment: a variant of two kinds" 2 "exp.yaml:2:[0-9]+: variants.1.: give one of" "$P" ab check exp.yaml
exp 'variants: [{name: a, weight: .5}, {name: b, weight: .4}]'
refuses "experiment: weights that leave users over" 2 "exp.yaml:2:[0-9]+: .*sum to 0.9" "$P" ab check exp.yaml
exp 'window: 30\nvariants: [{name: a}, {name: b}]'
refuses "experiment: a time without a unit" 2 "exp.yaml:2:9: window" "$P" ab assign exp.yaml -- 1
refuses "missing sums" 2 "nothere.json" "$P" ab calc nothere.json
echo '{"arms": [{"n": 5, "sum": 10, "sum_squares": 10}, {"n": 5, "sum": 1, "sum_squares": 1}]}' >sums.json
refuses "sums that no numbers have" 2 "sums.json: arms.0..sum_squares is below" "$P" ab calc sums.json
echo '{"arms": [{"n": 5, "sum": 1}, {"n": 5, "sum": 1, "sum_squares": 1}]}' >sums.json
refuses "sums: one is missing" 2 "sums.json: arms.0..sum_squares is missing" "$P" ab calc sums.json
echo '{"arms": [' >sums.json
refuses "sums: truncated JSON" 2 "sums.json" "$P" ab calc sums.json

# -- data: 3 --
refuses "missing log" 3 "nothere.csv" $(train) --set data.train=nothere.csv
refuses "glob without a match" 3 "shop/x\*.csv" $(train) --set 'data.train=shop/x*.csv'
refuses "a folder" 3 "shop" $(train) --set data.train=shop
: >empty.csv
refuses "empty log" 3 "empty.csv.*empty" $(train) --set data.train=empty.csv
{ printf 'PK\003\004\000\377' && head -c 20000 /dev/urandom; } >binary.csv
refuses "binary log" 3 "binary.csv:1: .*NUL" $(train) --set data.train=binary.csv
gzip -c shop/train.csv | head -c 3000 >cut.csv.gz
refuses "truncated gzip" 3 "cut.csv.gz.*(truncated|end)" $(train) --set data.train=cut.csv.gz
sed '1s/click/clicked/' shop/train.csv >head.csv
refuses "missing column" 3 "head.csv.*click" $(train) --set data.train=head.csv
awk 'NR % 3 == 0 { print "x,y"; next } { print }' shop/train.csv >many.csv
refuses "too many bad lines" 3 "bad" $(train) --set data.train=many.csv

if $somebody "$P" --version >/dev/null 2>&1; then
    cp shop/train.csv secret.csv
    cp job.yaml secret.yaml
    chmod 000 secret.csv secret.yaml
    refuses "a log that may not be read" 3 "secret.csv can't be read" $somebody "$P" data convert job.yaml --out no --set data.train=secret.csv
    refuses "a job file that may not be read" 2 "secret.yaml: Permission" $somebody "$P" check secret.yaml
    refuses "a folder that may not be written" 1 "Permission denied" $somebody "$P" data convert job.yaml --out no
else
    skip "files that may not be read: nobody can't run $P"
fi

# a few bad lines are quarantined, counted, and training goes on
awk -F, -v OFS=, 'NR == 1 { for (i = 1; i <= NF; i++) if ($i == "price") p = i } NR == 100 { $p = "inf" } NR == 200 { $p = "1e38" }
    NR == 300 { print "half a li"; next } { print }' shop/train.csv >few.csv
check "inf, 1e38 and a broken line in the log" "$P" train job.yaml --out few --set data.train=few.csv --set train.epochs=1
check "three lines quarantined" [ "$(json few/report.json bad)" = 3 ]
refuses "inf in a log: quarantined" 0 "few.csv.*inf" cat few/cache/quarantine.tsv
refuses "1e38 in a log: quarantined" 0 "few.csv.*1e38" cat few/cache/quarantine.tsv
refuses "half a line in a log: quarantined" 0 "few.csv.*300.*columns" cat few/cache/quarantine.tsv

# -- a run's folder --
check "a run to damage" "$P" train job.yaml --out run --force --set train.epochs=1
refuses "the folder holds a run" 2 "resume" "$P" train job.yaml --out run
refuses "resume of nothing" 2 "no run to resume" "$P" train job.yaml --out fresh --resume
refuses "resume of a changed job" 2 "train.batch" "$P" train job.yaml --out run --resume --set train.batch=128
variants() { # variants LIST: an experiment of these
    printf 'name: test\nvariants: [%s]\n' "$1" >bad.yaml
}
serves_ab() { echo "$P serve job.yaml --snapshot run --http 0 --state serve --ab bad.yaml"; }
variants "{name: live}, {name: old, version: 99}"
refuses "an experiment with a cut that isn't there" 3 "variant old: .*99" $(serves_ab)
variants "{name: live}, {name: live, version: 1}"
refuses "an experiment with two variants of one name" 2 "bad.yaml:2:.*another variant has this name" $(serves_ab)
variants "{name: live}, {name: old, verson: 1}"
refuses "an experiment with a key that is none" 2 "bad.yaml:2:.*verson: no such key; the nearest is version" $(serves_ab)
variants "{name: live}, {name: more, settings: [explore=.1]}"
refuses "an experiment on a setting that a node doesn't have" 2 "variant more: settings: a node has no option" $(serves_ab)
refuses "a snapshot that isn't there" 3 "@99|99" "$P" snap show run@99
refuses "eval without snapshot" 2 "snapshot" "$P" eval job.yaml
refuses "status of no run" 2 "no run" "$P" status shop

sed 's/norm: log/norm: standard/' job.yaml >scaled.yaml
check "a run with fitted scales" "$P" train scaled.yaml --out scaled --set train.epochs=1
refuses "resume on other training files" 3 "encoder.bin.*--force" "$P" train scaled.yaml --out scaled --resume --set train.epochs=2 --set data.train=few.csv
refuses "eval beside another encoder" 3 "encoder.bin is not the encoder" "$P" eval scaled.yaml --snapshot scaled
check "resume on them all the same" "$P" train scaled.yaml --out scaled --resume --force --set train.epochs=2 --set data.train=few.csv

flip() { # flip FILE: one bit in the middle
    at=$(($(stat -c %s "$1") / 2))
    b=$(od -An -tu1 -j $at -N 1 "$1" | tr -d ' ')
    printf "\\$(printf %03o $((b ^ 1)))" | dd of="$1" bs=1 seek=$at conv=notrunc 2>/dev/null
}
cp -r run flipped
flip "$(ls flipped/data/*.safetensors | tail -n 1)"
refuses "a bit flipped in a cut" 3 "flipped/data/.*(xxh3|checksum|crc)" "$P" snap verify flipped
refuses "eval of a flipped cut" 3 "data/.*(xxh3|checksum|crc)" "$P" eval job.yaml --snapshot flipped
cp -r run short
cut=$(ls short/data/*.safetensors | tail -n 1)
head -c 1000 "$cut" >part && cp part "$cut"
refuses "a truncated file of a cut" 3 "$cut" "$P" snap verify short
rm "$cut"
refuses "a missing file of a cut" 3 "$cut" "$P" snap verify short
cp -r run manifest
flip "$(ls manifest/cuts/*.json | tail -n 1)"
refuses "a bit flipped in a manifest" 3 "manifest/cuts/" "$P" snap verify manifest
: >"$(ls manifest/cuts/*.json | tail -n 1)"
refuses "an empty manifest" 3 "manifest/cuts/" "$P" snap verify manifest
cp -r run cache
for f in cache/cache/*; do case $f in *train*) flip "$f" ;; esac; done
refuses "a bit flipped in a cache" 3 "cache.*(checksum|damaged|xxh3)" "$P" train job.yaml --out cache --resume --set train.epochs=3

# -- peers that don't belong: the run goes on, the log says who knocked --
"$P" train job.yaml --out live --set train.epochs=5000 --set train.plateau.patience=0 >live.log 2>&1 &
front=$!
check "a run to knock at" eventually 30 test -e live/cuts/1.json
port=$(grep -oE 'head: listens at tcp://127.0.0.1:[0-9]+' live/log/ps-0.log | grep -oE '[0-9]+$' | tail -n 1)
for n in 1 64 100000; do # no ZeroMQ at all: its handshake drops it, and nobody is disturbed
    { exec 9<>"/dev/tcp/127.0.0.1/$port" && head -c $n /dev/urandom >&9; } 2>/dev/null
    exec 9>&-
done
mkdir stranger
cp live/resolved.yaml stranger/
echo 0123456789abcdef >stranger/job
cp live/head stranger/
refuses "an address of another job" 1 "stranger/head is of job .*, not 0123456789abcdef" "$P" status stranger
awk '{ $2 = "0123456789abcdef"; print }' live/head >stranger/head # as if a port had passed from one job to the other
timeout 20 "$P" status stranger >stranger.log 2>&1
refuses "a process of another job: in the log" 0 "another job is refused" cat live/log/ps-0.log
check "the run goes on" sh -c "$P status live | grep -q ^running"
kill -INT $front
wait $front
check "and ends as ever" none_left "$WORK/live"

# -- simulated people --
refuses "simulate without a node" 2 "--node http://HOST:PORT is missing" "$P" simulate shop
refuses "a node that is no URL" 2 "must be http://HOST:PORT" "$P" simulate shop --node 127.0.0.1:8080
refuses "two ends of a simulation" 2 "only one of them" "$P" simulate shop --node http://127.0.0.1:1 --seconds 1 --requests 1
refuses "more candidates than half the shop" 2 "at most half of the shop's [0-9]+ items" "$P" simulate shop --node http://127.0.0.1:1 --candidates 1000
refuses "no shop there" 3 "live: not the folder of a shop" "$P" simulate live --node http://127.0.0.1:1
refuses "no node there" 1 "is a serving node there" "$P" simulate shop --node http://127.0.0.1:1

# -- a full disk: while converting, and while cuts are written --
disk() { # disk SIZE: a fresh little disk in $WORK/small
    umount small 2>/dev/null
    mkdir -p small && mount -t tmpfs -o "size=$1" tmpfs small 2>/dev/null
}
if [ "$(id -u)" = 0 ] && disk 100k; then
    refuses "disk full while converting" 1 "no space left" "$P" train job.yaml --out small/run
    check "no half file" sh -c '! find small -name "*.tmp*" | grep -q .'
    disk 288k
    refuses "disk full while cuts are written" 1 "cut [0-9]+ was abandoned.*No space left" "$P" train job.yaml --out small/run
    check "no half file" sh -c '! find small -name "*.tmp*" | grep -q .'
    check "what is there verifies" "$P" snap verify small/run
    mount -o remount,size=20m small
    check "with more room: resume" "$P" train job.yaml --out small/run --resume
    check "each record once" [ "$(json small/run/report.json applied)" = $((2 * ($(wc -l <shop/train.csv) - 1))) ]
    umount small
else
    skip "a full disk: needs root and tmpfs"
fi
check "nothing is left running" none_left "$WORK"
check "nothing half-written anywhere" sh -c '! find . -name "*.tmp*" | grep -q .'
untold() { ! cut -f 1 refused.tsv | while read -r name; do grep -qF "| $name |" "$ROOT/tests/README.md" || echo "$name"; done | grep .; }
check "each case stands in tests/README.md" untold
if [ "${1:-}" = --table ]; then
    echo "| input | exit | what is said |"
    echo "|---|---|---|"
    # What differs from run to run: process ids, checksums, ports, times.
    tr '\140' "'" <refused.tsv | sed -E 's/\.tmp\.[0-9]+/.tmp.PID/; s/\b[0-9a-f]{16}\b/XXH3/g; s/127.0.0.1:[0-9]+/127.0.0.1:PORT/
        s/^([^\t]*\t[0-9]+\t)[0-9-]+T[0-9:.]+Z [A-Z]+ /\1/; s/\|/\\|/g; s/\t([0-9]+)\t/ | \1 | `/; s/\t/ /g; s/$/` |/; s/^/| /'
fi
finish
