"""replica_log.py MANIFESTS LOG...: every "cut" line of penstock-follow against the manifest of that cut: the hash over weights
of each table. Cuts rise; where two logs show the same cut they show the same. Exit code 1 and a sentence if not."""
import json
import os
import re
import sys


def manifests(folder):
    """{cut: {table: hash}}; those that were caught half-copied are left out."""
    out = {}
    for name in os.listdir(folder):
        try:
            with open(os.path.join(folder, name)) as f:
                m = json.load(f)
        except ValueError:
            continue
        out[int(m["k"])] = {t["name"]: "%016x" % int(t["weights"]) for t in m["tables"]}
    return out


def shown(path):
    """[(cut, {table: hash})] in the order of the log."""
    out = []
    with open(path) as f:
        for line in f:
            found = re.match(r"cut (\d+) incarnation \d+ after", line)
            if found:
                out.append((int(found[1]), dict(re.findall(r"(\S+)=([0-9a-f]{16})", line))))
    return out


def main(folder, logs):
    truth, compared, of_log = manifests(folder), 0, {}
    for path in logs:
        last = 0
        for cut, hashes in shown(path):
            if cut <= last:
                return "%s: cut %d is shown after %d" % (path, cut, last)
            last = cut
            if of_log.setdefault(cut, hashes) != hashes:
                return "cut %d differs from log to log" % cut
            if cut in truth:
                compared += 1
                if truth[cut] != hashes:
                    return "%s: cut %d has %s, its manifest says %s" % (path, cut, hashes, truth[cut])
    print("%d versions compared with %d manifests" % (compared, len(truth)))
    return None if compared >= 20 else "only %d versions could be compared" % compared


if __name__ == "__main__":
    wrong = main(sys.argv[1], sys.argv[2:])
    print(wrong or "all equal")
    sys.exit(1 if wrong else 0)
