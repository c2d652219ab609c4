#!/usr/bin/env bash
# data.follow: a log that grows while 2 servers with 2 shards and 2 workers train on it. Each line counts once, whatever
# is killed; a truth that turns round is learned again; ended by TERM, by a quiet log, by a file that shrank.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1
mkdir "$WORK/live"
base=$(($(wc -l <"$WORK/shop/train.csv") - 1))
sed -e 's|^  valid: .*|  follow: live/*.csv\n  follow_every: 200ms|' -e 's/epochs: 2/epochs: 1/' "$WORK/job.yaml" >"$WORK/live.yaml"
places="--servers 2 --shards 4 --workers 2"

train() { "$PENSTOCK" train "$WORK/live.yaml" --out "$WORK/$1" $places "${@:2}"; }
report() { echo "$WORK/$1/report.json"; }
lines() { cat "$WORK"/live/* | grep -vc ^time,; }
exact() { # RUN: base records and all lines of the log, once
    [ "$(json "$(report "$1")" applied)" = $((base + $(lines))) ] && [ "$(json "$(report "$1")" doubled)" = 0 ] &&
        [ "$(json "$(report "$1")" skipped)" = 0 ]
}
# write FILE FIRST LAST: lines of the test log, 100 each 50 ms
write() {
    [ -s "$1" ] || head -n 1 "$WORK/shop/test.csv" >"$1"
    tail -n +2 "$WORK/shop/test.csv" | sed -n "$2,$3p" | awk '{ print; if (NR % 100 == 0) { fflush(); system("sleep 0.05") } }' >>"$1"
}
segments() { sed -n 's/^ "segments": *\([0-9]*\),/\1/p' "$WORK/$1/live/position.json"; }
at_segment() { [ -f "$WORK/$1/live/position.json" ] && [ "$(segments "$1")" -ge "$2" ]; }
cuts() { ls "$WORK/$1/cuts" 2>/dev/null | sed -n 's/^\([0-9]*\)\.json$/\1/p' | sort -n | tail -n 1; }
cut_at_least() { [ "$(cuts "$1")" -ge "$2" ]; }

# A quiet log ends it; a file came while it ran, another was rotated, and a last line had no end until late.
write "$WORK/live/a.csv" 1 300
(
    write "$WORK/live/a.csv" 301 600
    eventually 60 at_segment quiet 1 # a file is known once it was seen under a name of the pattern
    mv "$WORK/live/a.csv" "$WORK/live/a.csv.1"
    write "$WORK/live/a.csv" 601 800
    write "$WORK/live/b.csv" 801 1000
    printf '%s' "$(sed -n 1002p "$WORK/shop/test.csv" | cut -c 1-10)" >>"$WORK/live/b.csv"
    sleep 0.5
    sed -n 1002p "$WORK/shop/test.csv" | cut -c 11- >>"$WORK/live/b.csv"
) &
writer=$!
check "a log grows, then is quiet" train quiet --set data.follow_idle=3s
wait $writer
check "each line once" exact quiet
check "1001 of them" test "$(lines)" = 1001
check "several segments" at_segment quiet 3
check "predicted before they are trained on" at_least "$(sed -n '/^  "live"/,/^  }/p' "$(report quiet)" | json /dev/stdin auc)" .5
check "cuts verify" "$PENSTOCK" snap verify "$WORK/quiet"
check "goes on when there is more" eval 'write "$WORK/live/b.csv" 1002 1100 && train quiet --resume --set data.follow_idle=1s'
check "each line once, still" exact quiet

rm "$WORK/live/a.csv.1" # no pattern names it: other runs never see it

# TERM is how a live run ends: all that was there is in the last cut, code 0. Also when the front does not know yet that
# the run is live: it is stopped in the middle of the epoch and finds TERM when it wakes.
write "$WORK/live/c.csv" 1101 1400
"$PENSTOCK" train "$WORK/live.yaml" --out "$WORK/term" $places --set train.batch=32 >"$WORK/term.log" 2>&1 &
front=$!
working() { [ "$(pgrep -fc -- "penstock-worker --dir $WORK/term( |\$)")" -ge 2 ]; }
check "TERM: workers" eventually 60 working
kill -STOP $front
check "TERM: live, unseen" eventually 60 cut_at_least term 1
kill -TERM $front
kill -CONT $front
check "TERM: ends with code 0" wait $front
check "TERM: nothing is left" eventually 20 none_left "$WORK/term"
check "TERM: each line once" exact term
# From before data.follow was there: a run that is done goes live.
sed -e '/follow/d' "$WORK/live.yaml" >"$WORK/was.yaml"
check "a run without a growing log" "$PENSTOCK" train "$WORK/was.yaml" --out "$WORK/was" $places
cp "$WORK/live.yaml" "$WORK/was.yaml"
check "goes live" "$PENSTOCK" train "$WORK/was.yaml" --out "$WORK/was" $places --resume --set data.follow_idle=1s
check "goes live: each line once" exact was

# Whatever is killed, small batches and frequent cuts, so that it falls into the middle of segments.
small="--set train.batch=16 --set cluster.cut_every=20ms"
rm -f "$WORK"/live/*
for who in front worker server; do
    write "$WORK/live/$who.csv" 1 200
    "$PENSTOCK" train "$WORK/live.yaml" --out "$WORK/kill-$who" $places $small >"$WORK/kill.log" 2>&1 &
    front=$!
    check "$who killed: live" eventually 60 at_segment "kill-$who" 1
    write "$WORK/live/$who.csv" 201 1000 &
    writer=$!
    check "$who killed: in the middle" eventually 60 at_segment "kill-$who" 3
    case $who in
    front) victim=$front ;;
    worker) victim=$(pgrep -f -- "penstock-worker.*--dir $WORK/kill-$who( |\$)" | tail -n 1) ;;
    server) victim=$(pgrep -f -- "penstock-ps.*--dir $WORK/kill-$who( |\$)" | tail -n 1) ;;
    esac
    kill -KILL "$victim"
    wait $front 2>/dev/null
    check "$who killed: nothing is left" eventually 30 none_left "$WORK/kill-$who"
    wait $writer
    check "$who killed: goes on" train "kill-$who" $small --resume --set data.follow_idle=1s
    check "$who killed: each line once" exact "kill-$who"
done

# Ten items whose clicks are sure; then all turns round. Before training AUC falls, and comes back.
awk 'BEGIN { print "y,item"; for (i = 0; i < 4000; i++) print (i % 10 < 5) "," i % 10 }' >"$WORK/turn.csv"
cat >"$WORK/turn.yaml" <<YAML
data:
  root: $WORK
  train: turn.csv
  follow: turned.csv
  follow_every: 50ms
  follow_records: 200
  follow_idle: 1s
  fields: [{name: y, type: label}, {name: item, type: item}]
model: {family: lr, embedding_init: 0}
optimizer: {embedding: {rate: .1}, dense: {rate: 1e-3}}
train: {epochs: 2, batch: 50}
YAML
awk 'BEGIN { print "y,item"; for (i = 0; i < 3000; i++) print (i % 10 >= 5) "," i % 10 }' >"$WORK/turned.csv"
check "a truth that turned round" "$PENSTOCK" train "$WORK/turn.yaml" --out "$WORK/turn" --workers 2
aucs() { sed -n '/^    "last"/,/^    \]/p' "$(report turn)" | sed -n 's/^ *"auc": *\([^,]*\),/\1/p'; }
check "15 segments of 200" test "$(aucs | wc -l)" = 15
check "at first all is wrong" at_least .01 "$(aucs | head -n 1)"
check "in the end all is right" at_least "$(aucs | tail -n 1)" .99

# Bad input.
shrink() {
    "$PENSTOCK" train "$WORK/live.yaml" --out "$WORK/shrunk" --force >"$WORK/shrunk.log" 2>&1 &
    front=$!
    eventually 60 cut_at_least shrunk 2
    head -n 5 "$WORK/shop/test.csv" >"$WORK/live/front.csv"
    wait $front
    code=$?
    cat "$WORK/shrunk.log"
    return $code
}
export WORK PENSTOCK
export -f shrink eventually cut_at_least cuts
refuses "a growing log that shrank" 3 "live/front.csv shrank: .*stopped at cut [0-9]+, --resume goes on from it" bash -c shrink
sed -e 's/^  fields:/  split: {by: window}\n  fields:\n    - {name: time, type: time}/' -e 's/epochs: 1/window: true/' \
    "$WORK/live.yaml" >"$WORK/both.yaml"
refuses "growing logs and windows" 2 "data.follow: does not go with train.window" "$PENSTOCK" check "$WORK/both.yaml"
sed -e 's/^  fields:/  fields:\n    - {name: before, type: history, of: item}\n    - {name: time, type: time}/' "$WORK/live.yaml" >"$WORK/history.yaml"
refuses "growing logs and histories" 2 "data.follow: field before is a history" "$PENSTOCK" check "$WORK/history.yaml"
refuses "standard input as a growing log" 2 "data.follow: standard input .-. can't be gone on with" \
    "$PENSTOCK" check "$WORK/live.yaml" --set data.follow=-
finish
