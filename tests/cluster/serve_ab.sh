#!/usr/bin/env bash
# An experiment on a real node: a pinned cut against what is shown, people of the shop, kill -9 in the middle. What the
# node counted is what its people saw; a shadow is scored and never shown; `ab report` says what `ab calc` computes.
. "$(dirname "$0")/../support/cluster.sh"
small_shop "$WORK" 20000 || exit 1
cd "$WORK" || exit 1
P=$PENSTOCK
command -v python3 >/dev/null || {
    echo "skipped: python3 is needed"
    exit 77
}
sed -i 's|    - {name: price.*|    - {name: hour, type: id}\n    - {name: device, type: id}\n&|' job.yaml

node_pid=
trap 'kill -9 $node_pid 2>/dev/null; rm -rf "$WORK"' EXIT
serve() { # serve PORT words...: sets node_pid, url, at
    : >node.log
    serve_port=$1
    shift
    "$P" serve job.yaml --http "127.0.0.1:$serve_port" "$@" >node.log 2>&1 &
    node_pid=$!
    eventually 30 grep -q "at http://" node.log || { cat node.log; return 1; }
    url=$(sed -n 's/.* at \(http:[^, ]*\).*/\1/p' node.log | head -n 1)
    at=${url#http://}
}
people() { # people OUT words...
    people_out=$1
    shift
    timeout 120 "$P" simulate shop --node "$url" --rate 80 --context hour,device --candidates 40 --json "$@" >"$people_out" 2>people.log
}
killed() {
    kill -9 "$node_pid"
    wait "$node_pid" 2>/dev/null
    return 0
}
report() { "$P" ab report "$at" --json >"$1"; }

# What people saw in all SIM files is what the node says in REPORT: answers' items and clicks of each variant.
cat >same.py <<'PY'
import json, sys
node = json.load(open(sys.argv[1]))
ctr = {a["name"]: a["sum"] for m in node["metrics"] if m["metric"] == "ctr" for a in m["sums"]["arms"]}
saw = {}
for f in sys.argv[2:]:
    for v in json.load(open(f))["variants"]:
        one = saw.setdefault(v["variant"], [0, 0])
        one[0] += v["shown"]
        one[1] += v["clicks"]
counted = {v["variant"]: [v["exposures"], ctr[v["variant"]]] for v in node["variants"] if not v["shadow"]}
print("saw", saw, "counted", counted, "unmatched", node["unmatched"])
sys.exit(saw != counted or len(saw) < 2 or node["unmatched"] != 0)
PY
# Nothing of what was counted is gone or twice: examples of a variant are at most what was shown, and BEFORE <= AFTER.
cat >grown.py <<'PY'
import json, sys
before, after = (json.load(open(f)) for f in sys.argv[1:3])
for a, b in zip(before["variants"], after["variants"]):
    for key in ("users", "exposures", "examples", "positives"):
        if b[key] < a[key]:
            sys.exit("%s of %s: %d, then %d" % (key, a["variant"], a[key], b[key]))
    if not b["shadow"] and b["examples"] > b["exposures"]:
        sys.exit("%s: more examples than items shown" % b["variant"])
PY
# `ab calc` of the sums that stand in a report says what stands there, to the last digit.
cat >calc.py <<'PY'
import json, subprocess, sys
node = json.load(open(sys.argv[1]))
for m in node["metrics"]:
    json.dump(m["sums"], open("sums.json", "w"))
    said = json.loads(subprocess.run([sys.argv[2], "ab", "calc", "sums.json"], capture_output=True, check=True).stdout)
    if said != m["statistics"] or said["comparisons"][0]["absolute"] is None:
        sys.exit("%s: %s is not %s" % (m["metric"], said, m["statistics"]))
    print(m["metric"], said["comparisons"][0]["fieller"])
PY
shadow() { # of REPORT: it has as many examples as were shown by both, and no users
    python3 - "$1" <<'PY'
import json, sys
v = {x["variant"]: x for x in json.load(open(sys.argv[1]))["variants"]}
s, rest = v["unseen"], [v["live"], v["first"]]
print(v)
sys.exit(not (s["users"] == 0 and s["unscored"] == 0 and s["examples"] == sum(x["examples"] for x in rest) > 0
              and s["positives"] == sum(x["positives"] for x in rest) and s["auc"] != v["live"]["auc"]))
PY
}

check "a run with several cuts" "$P" train job.yaml --out run --servers 1 --shards 2 --workers 1 --set train.epochs=6 --set cluster.cut_every=200ms
first=$(ls run/cuts | sed -n 's/\.json$//p' | sort -n | head -n 1)
cat >ab.yaml <<YAML
name: frozen
window: 2s
variants:
  - {name: live}
  - {name: first, version: $first}
  - {name: unseen, version: $first, shadow: true}
metrics:
  - {name: ctr, event: click, kind: ratio}
  - {name: buyers, event: buy, kind: proportion, cuped: true}
YAML
check "the node runs an experiment" serve 0 --snapshot run --state state --ab ab.yaml
check "people come" people calm.json --requests 300 --seed 1
check "people saw no shadow" sh -c "! grep -q unseen calm.json"
all_closed() { report now.json && python3 -c 'import json, sys; sys.exit(any(v["examples"] != v["exposures"] for v in json.load(open("now.json"))["variants"] if not v["shadow"]))'; }
check "windows close" eventually 20 all_closed
cp now.json calm.report
check "each exposure and click is counted once, by variant" python3 same.py calm.report calm.json
check "the shadow is scored on what the others showed" shadow calm.report
check "ab calc says the same of the same sums" python3 calc.py calm.report "$P"
check "ab report has a verdict" sh -c "'$P' ab report $at | grep -qE 'better|worse|No difference|not enough'"
check "metrics" eventually 20 sh -c "curl -s $url/metrics | grep -q '^penstock_prequential_auc{variant=\"first\"}'"
if command -v promtool >/dev/null; then
    check "promtool takes /metrics" sh -c "curl -s $url/metrics | promtool check metrics"
fi

# -- kill -9, when all is quiet and when it is not --
port=${url##*:}
killed
check "the node is back after kill -9" serve "$port" --snapshot run --state state --ab ab.yaml
check "it reports" report again.report
check "the very figures that it had" cmp calm.report again.report
check "more people come" people more.json --requests 200 --seed 2 --known
check "windows close again" eventually 20 all_closed
check "both times are counted once" python3 same.py now.json calm.json more.json
cp now.json more.report
people killed.json --seconds 8 --seed 3 --known &
people_pid=$!
check "people are at it" eventually 30 grep -q "[1-9][0-9]* visits" people.log
killed
check "the node is back while they are" serve "$port" --snapshot run --state state --ab ab.yaml
check "they saw no wrong answer" wait "$people_pid"
check "windows close once more" eventually 20 all_closed
check "nothing that was counted is gone" python3 grown.py more.report now.json
cp now.json killed.report
killed
check "the node is back once more" serve "$port" --snapshot run --state state --ab ab.yaml
check "it reports again" report again.report
check "the same figures, kill -9 in the middle or not" cmp killed.report again.report

# -- calls that can't work --
kill "$node_pid"
wait "$node_pid"
bad() { # bad NAME TEXT 'sed script'
    sed "$3" ab.yaml >bad.yaml
    refuses "$1" "${4:-2}" "$2" "$P" serve job.yaml --snapshot run --http 0 --state other --ab bad.yaml
}
bad "serve --ab: a key that is none" "bad.yaml:2:1: windw" 's/window/windw/'
bad "serve --ab: two variants of one name" "another variant has this name" 's/name: first/name: live/'
bad "serve --ab: a cut that is not there" "variant first: .*99999" "s/version: $first}/version: 99999}/" 3
bad "serve --ab: settings" "no option that a variant could set" "s/version: $first}/settings: [explore=.1]}/"
refuses "serve --ab: no such file" 2 "nothere.yaml" "$P" serve job.yaml --snapshot run --http 0 --state other --ab nothere.yaml
check "a node without an experiment" serve 0 --snapshot run --state other
refuses "ab report: no experiment there" 1 "no experiment runs there" "$P" ab report "$at"
finish
