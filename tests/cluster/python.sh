#!/usr/bin/env bash
# penstock.py against a trained run: the arrays of load_snapshot, rows and scores of a Replica, by folder, by number and by
# tcp; the library as it is installed, with its pkg-config file and example.
. "$(dirname "$0")/../support/cluster.sh"
python=
for p in python3 /usr/bin/python3; do # the first may be one beside Debian's, without its packages
    [ -n "$python" ] || ! "$p" -c 'import numpy' 2>/dev/null || python=$p
done
[ -n "$python" ] || { skip "python3-numpy is not there (launch/setup.sh --dev)"; finish; }
small_shop "$WORK" 20000 || exit 1
check "train" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/run" --servers 2 --shards 3 --set cluster.cut_every=200ms
check "predictions of eval" "$PENSTOCK" eval "$WORK/job.yaml" --snapshot "$WORK/run" --data valid --predictions "$WORK/valid.tsv"
check "snapshot, replica, scores, bad calls" env PYTHONPATH="$ROOT/ps/serve/client:${PYTHONPATH:-}" PYTHONDONTWRITEBYTECODE=1 "$python" \
    "$ROOT/tests/support/replica_check.py" "$BUILD/lib/libpenstock-replica.so.1" "$WORK/run" "$WORK/valid.tsv" "$WORK/shop/valid.csv"
# A model of three tasks says the probability of train.task.
sed 's|- {name: click, type: label}|&\n    - {name: cart, type: label}\n    - {name: buy, type: label}|
    s|family: mlp|family: multitask, tower: [8]|' "$WORK/job.yaml" >"$WORK/tasks.yaml"
check "train three tasks" "$PENSTOCK" train "$WORK/tasks.yaml" --out "$WORK/tasks" --servers 2 --shards 3 --set cluster.cut_every=200ms
check "their predictions" "$PENSTOCK" eval "$WORK/tasks.yaml" --snapshot "$WORK/tasks" --data valid --predictions "$WORK/tasks.tsv"
check "scores of three tasks" env PYTHONPATH="$ROOT/ps/serve/client:${PYTHONPATH:-}" PYTHONDONTWRITEBYTECODE=1 "$python" \
    "$ROOT/tests/support/replica_check.py" "$BUILD/lib/libpenstock-replica.so.1" "$WORK/tasks" "$WORK/tasks.tsv" "$WORK/shop/valid.csv"
if command -v pkg-config >/dev/null; then
    check "install" make -C "$ROOT" -s install BUILD="$(realpath "$BUILD")" SETUP=no DESTDIR= PREFIX="$WORK/usr"
    compile() {
        PKG_CONFIG_PATH=$WORK/usr/lib/pkgconfig cc "$WORK/usr/share/doc/penstock/follow.c" \
            $(PKG_CONFIG_PATH=$WORK/usr/lib/pkgconfig pkg-config --cflags --libs penstock-replica) -o "$WORK/follow"
    }
    check "the example compiles with pkg-config" compile
    follows() { LD_LIBRARY_PATH=$WORK/usr/lib timeout 20 "$WORK/follow" --for 1 "$WORK/run" | grep -q '^cut .*embedding='; }
    check "and follows" follows
    exports() { [ -z "$(nm -D --defined-only "$WORK/usr/lib/libpenstock-replica.so.1" | grep -v ' penstock_replica_')" ]; }
    check "the library exports nothing else" exports
fi
finish
