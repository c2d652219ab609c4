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
# Nothing of what was counted is gone or twice: BEFORE <= AFTER, examples of a variant are at most what was shown, and all that
# SIM files saw is there but for the few answers under way at the kill: their exposures are written behind them.
cat >grown.py <<'PY'
import json, sys
before, after = (json.load(open(f)) for f in sys.argv[1:3])
saw = [v for f in sys.argv[3:] for v in json.load(open(f))["variants"]]
clicks = sum(a["sum"] for m in after["metrics"] if m["metric"] == "ctr" for a in m["sums"]["arms"])
off = {"shown": sum(v["exposures"] for v in after["variants"]) - sum(v["shown"] for v in saw),
       "clicks": clicks - sum(v["clicks"] for v in saw)}
print("counted more than seen:", off, "unmatched", after["unmatched"])
if abs(off["shown"]) > 200 or not -100 <= off["clicks"] <= 0:
    sys.exit("too many")
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
check "nothing that was counted is gone" python3 grown.py more.report now.json calm.json more.json killed.json
cp now.json killed.report
killed
check "the node is back once more" serve "$port" --snapshot run --state state --ab ab.yaml
check "it reports again" report again.report
check "the same figures, kill -9 in the middle or not" cmp killed.report again.report

kill "$node_pid"
wait "$node_pid"

# -- who gets what: as `ab assign` says, each by its own cut, those outside by the live one --
cat >part.yaml <<YAML
name: part
coverage: .6
variants:
  - {name: live}
  - {name: first, version: $first}
  - {name: gone, stream: empty}
metrics:
  - {name: buyers, event: buy, kind: proportion, cuped: true}
YAML
cat >assigned.py <<'PY'
import json, subprocess, sys, urllib.request
node, penstock, first = sys.argv[1], sys.argv[2], int(sys.argv[3])
users = ["u%d" % i for i in range(120)] + [str(i) for i in range(40)]
said = subprocess.run([penstock, "ab", "assign", "part.yaml", "--"] + users, capture_output=True, check=True, text=True).stdout
said = dict(line.split("\t") for line in said.splitlines())
def rank(body):
    body["items"] = [1, 2, 3]
    return json.load(urllib.request.urlopen(node + "/v1/rank", json.dumps(body).encode(), timeout=10))
count = dict.fromkeys(said.values(), 0)
early = ["u%d" % i for i in range(20, 60)]  # who bought twice before the experiment saw them
for u in early:
    events = [{"event_id": "%s-%d" % (u, i), "type": "buy", "item_id": i} for i in range(2)]
    urllib.request.urlopen(node + "/v1/events", json.dumps({"user_id": u, "events": events}).encode(), timeout=10)
live = rank({})["snapshot_version"]
for u in users:
    count[said[u]] += 1
    a = rank({("session_id" if u.startswith("u1") else "user_id"): int(u) if u.isdigit() else u})
    want = None if said[u] in ("-", "gone") else said[u]
    if a.get("variant") != want or a["snapshot_version"] != (first if want == "first" else live):
        sys.exit("%s: %s, but %s" % (u, said[u], a))
    if want and abs(a["propensity"] - 1 / 3) > 1e-9:
        sys.exit("propensity %r" % a["propensity"])
if "variant" in rank({"user_id": "u2", "version": live}) or "variant" in rank({}):
    sys.exit("a variant for whom there is none")
figures = json.load(urllib.request.urlopen(node + "/v1/experiments/part", timeout=10))
v = {x["variant"]: x for x in figures["variants"]}
print(count, figures)
before = {a["name"]: a["covariate_sum"] for a in figures["metrics"][0]["sums"]["arms"]}
for name in ("live", "first"):
    if before[name] != 2 * sum(said[u] == name for u in early) or before[name] == 0:
        sys.exit("what %s's users did before: %r" % (name, before[name]))
sys.exit(not (min(count.values()) > 5 and live != first and v["gone"]["missing"] == count["gone"] and v["gone"]["users"] == 0
              and v["live"]["users"] == count["live"] and v["first"]["exposures"] == 3 * count["first"]))
PY
cp -r run empty
rm -f empty/cuts/*
last=$(ls run/cuts | sed -n 's/\.json$//p' | sort -n | tail -n 1)
check "a node with a variant whose stream shows nothing" serve 0 --snapshot "run@$last" --state part --ab part.yaml --wait 1
check "users get what ab assign says, by the right cut" python3 assigned.py "$url" "$P" "$first"
kill "$node_pid"
wait "$node_pid"

# -- calls that can't work --
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
kill "$node_pid"
wait "$node_pid"
finish
