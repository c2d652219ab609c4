"""replica_check.py LIBRARY RUN PREDICTIONS LOG: penstock.py held against itself (files read here, rows read there), against
`penstock eval --predictions`, and against calls that are wrong."""
import csv
import json
import os
import sys

import numpy as np
import penstock


def expect(what, ok):
    if not ok:
        sys.exit("not so: " + what)


def refused(says, call, *args, **more):
    try:
        call(*args, **more)
    except penstock.Error as e:
        expect('"%s" in "%s"' % (says, e), says in str(e))
        return
    sys.exit("not refused: " + says)


def same_rows(snap, r):
    for name, t in r.tables().items():
        if t["sparse"]:
            rows, unknown = r.lookup(name, snap["emb.%s.ids" % name], unknown=True)
            expect("rows of %s are known" % name, unknown == 0 and len(rows) == t["rows"] > 0)
            expect("rows of %s are equal" % name, np.array_equal(rows, snap["emb.%s.rows" % name]))
    for name, x in snap.items():
        if name.startswith(("dense.", "stat.")):
            expect(name, np.array_equal(r.dense(name.split(".", 1)[1]), x.reshape(-1)))


def scores(r, predictions, log):
    """The lines of the log are the records of the part, in their order."""
    with open(log, newline="") as f:
        lines = list(csv.DictReader(f))
    want = np.loadtxt(predictions, dtype=np.float64)
    expect("as many predictions as lines", len(want) == len(lines))
    lines = [lines[int(i)] for i in want[:, 0]]
    columns = {name: [line[name] for line in lines] for name in ("user", "item", "category", "price")}
    got = r.score(columns)
    worst = float(np.abs(got - want[:, 2]).max())
    print("%d scores, largest difference from eval %.2g" % (len(got), worst))
    expect("scores are those of eval", worst <= 1e-6)
    expect("one alone", abs(float(r.score({k: c[:1] for k, c in columns.items()})[0]) - want[0, 2]) <= 1e-6)
    expect("a missing cell is allowed", np.isfinite(r.score({"user": [None, columns["user"][0]]})).all())
    refused("is no field", r.score, {"nobody": ["1"]})
    refused("price", r.score, {"price": ["cheap"]})


def main(library, run, predictions, log):
    snap = penstock.load_snapshot(run)
    cuts = sorted(int(f[:-5]) for f in os.listdir(os.path.join(run, "cuts")) if f.endswith(".json"))
    ids = snap["emb.embedding.ids"]
    expect("ids rise", ids.dtype == np.uint64 and (ids[1:] > ids[:-1]).all())
    expect("shapes", snap["emb.embedding.rows"].shape == (len(ids), 8) and snap["emb.embedding.meta"].shape == (len(ids), 2))
    with penstock.Replica(run, follow=False, library=library) as r:
        same_rows(snap, r)
        scores(r, predictions, log)
        v = r.version()
        expect("the version", v["shown"] and v["cut"] in cuts and v["records"] > 0)
        key = r.keys("user", ["nobody has this id"])
        expect("an unknown key is counted", r.lookup("embedding", key, unknown=True)[1] == 1)
        with open(os.path.join(os.path.dirname(log), "train.csv"), newline="") as f:
            users = [line["user"] for line, _ in zip(csv.DictReader(f), range(3))]
        known = r.lookup("embedding", r.keys("user", users), unknown=True)
        expect("ids of the log are known", known[1] == 0 and known[0].shape == (3, 8))
        refused("no sparse table", r.lookup, "nothing", key)
        refused("no id field", r.keys, "price", ["1"])
        refused("not kept", r.pin, 999)
        refused("no such dense tensor", r.dense, "nothing")
    with penstock.Replica(run, library=library) as r:
        expect("following shows the newest", r.version()["cut"] == cuts[-1])
        same_rows(penstock.load_snapshot("%s@%d" % (run, cuts[-1])), r)
        expect("nothing newer comes", r.wait(cuts[-1], 0.2) is None)
        expect("one version is kept", len(r.versions()) == 1 and r.counts()["shown"] == 1)
    refused("no such folder", penstock.Replica, run + "/nothing@3", follow=False, library=library)
    refused("no answer", penstock.Replica, "tcp://127.0.0.1:1", wait=0.3, library=library)
    refused("can't load", penstock.Replica, run, library=run)
    refused("no cut 999", penstock.load_snapshot, run + "@999")
    refused("no run's folder", penstock.load_snapshot, run + "/data")
    with open(os.path.join(run, "cuts", "%d.json" % cuts[-1])) as f:
        last = os.path.join(run, json.load(f)["files"][-1]["name"])
    with open(last, "r+b") as f:
        f.truncate(os.path.getsize(last) - 1)
    refused("damaged", penstock.load_snapshot, "%s@%d" % (run, cuts[-1]))
    print("all as it should be")


main(*sys.argv[1:])
