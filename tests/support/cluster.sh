# cluster.sh: what the scripts of tests/cluster share. Source it; it makes $WORK, which is removed at the end.
#
# A script is one or more checks: `check NAME command...` counts; `finish` prints the last line that the runner
# reads. Every wait has a deadline. Nothing is killed but by pid, and only what the script started.
set -u
BUILD=${BUILD:-build}
PENSTOCK=$BUILD/bin/penstock
ROOT=$(cd "$(dirname "$0")/../.." && pwd)
DATA=${PENSTOCK_DATA:-$ROOT/../shared/data}
WORK=$(mktemp -d "${TMPDIR:-/tmp}/penstock-test.XXXXXX")
passed=0
failed=0
skipped=0
trap 'rm -rf "$WORK"' EXIT

say() { echo "  $*"; }

# check NAME command...: passes when the command does.
check() {
    check_name=$1
    shift
    if "$@" >"$WORK/check.log" 2>&1; then
        passed=$((passed + 1))
        say "ok      $check_name"
    else
        failed=$((failed + 1))
        say "FAILED  $check_name: $*"
        tail -n 40 "$WORK/check.log"
    fi
}

skip() {
    skipped=$((skipped + 1))
    say "skipped $*"
}

finish() {
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ]
    exit $?
}

# refuses NAME CODE TEXT command...: the command ends with CODE within a minute and says TEXT (an extended regular
# expression, of one line). What it said goes into $WORK/refused.tsv, a line each, for the table of bad_input.sh.
refuses() {
    refuse_name=$1 refuse_code=$2 refuse_text=$3
    shift 3
    timeout 60 "$@" >"$WORK/refused.log" 2>&1
    refuse_got=$?
    refuse_line=$(grep -aiE -m 1 -- "$refuse_text" "$WORK/refused.log" | sed "s|$WORK/||g")
    if [ $refuse_got -eq "$refuse_code" ] && [ -n "$refuse_line" ]; then
        passed=$((passed + 1))
        say "ok      $refuse_name: $(echo "$refuse_line" | cut -c 1-150)"
        printf '%s\t%s\t%s\n' "$refuse_name" "$refuse_code" "$refuse_line" >>"$WORK/refused.tsv"
    else
        failed=$((failed + 1))
        say "FAILED  $refuse_name: code $refuse_got (wanted $refuse_code), wanted \"$refuse_text\"; it said:"
        tail -n 5 "$WORK/refused.log"
    fi
}

# json FILE KEY: the first "KEY": value in a report, without quotes.
json() { sed -n "s/^ *\"$2\": *\"\{0,1\}\([^\",]*\)\"\{0,1\},\{0,1\}$/\1/p" "$1" | head -n 1; }

# at_least A B: A >= B, as decimals.
at_least() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a + 0 >= b + 0) }'; }

# eventually SECONDS command...: true as soon as the command is.
eventually() {
    end=$(($(date +%s) + $1))
    shift
    until "$@" >/dev/null 2>&1; do
        [ "$(date +%s)" -ge "$end" ] && return 1
        sleep 0.05
    done
}

# Processes of a run are known by its folder on their command line.
left_of() { pgrep -f -- "--dir $1( |\$)" 2>/dev/null; }
none_left() { ! left_of "$1" >/dev/null; }

# circle_log DIR EPOCHS [EASE]: DIR/log and DIR/job.yaml of a next-item model. 300 users, 60 items in a circle; a user begins
# somewhere and takes 4 to 23 steps of one, now and then of two.
circle_log() {
    awk 'BEGIN {
        srand(4)
        for (u = 0; u < 300; u++) {
            at = int(rand() * 60)
            for (n = 4 + int(rand() * 20); n > 0; n--) {
                print "u" u, "i" at
                at = (at + (rand() < .9 ? 1 : 2)) % 60
            }
        }
    }' >"$1/log"
    cat >"$1/job.yaml" <<YAML
data:
  train: log
  delimiter: " "
  header: false
  records: sequences
  fields: [{name: user, type: user}, {name: item, type: item}]
  sequence: {max: 20}
model: {family: sasrec, embedding: 16, embedding_init: .05}
optimizer: {embedding: {rate: 1e-2}, dense: {rate: 1e-2}}
train: {epochs: $2, batch: 50, plateau: {patience: 0}, ease: ${3:-200}}
YAML
}

# small_shop DIR [events]: a little shop's logs and a job for them, DIR/job.yaml.
small_shop() {
    "$PENSTOCK" data synth shop --users 400 --items 200 --events "${2:-20000}" --seed 7 --out "$1/shop" >"$1/synth.log" 2>&1 || {
        cat "$1/synth.log"
        return 1
    }
    cat >"$1/job.yaml" <<YAML
data:
  root: $1
  train: shop/train.csv
  valid: shop/valid.csv
  fields:
    - {name: click, type: label}
    - {name: user, type: user}
    - {name: item, type: item}
    - {name: category, type: id}
    - {name: price, type: float, norm: log}
model: {family: mlp, embedding: 8, embedding_init: .01, hidden: [16], dropout: .1}
optimizer:
  embedding: {kind: adam, rate: 1e-3, l2: 1e-4, l2_mode: exact}
train: {epochs: 2, batch: 256, seed: 3}
YAML
}
