#!/usr/bin/env bash
# The processes themselves, without the front: penstock-ps and penstock-worker in a folder made by hand.
# Who starts late, who lies, who is killed: how each of them ends, and with which code.
. "$(dirname "$0")/../support/cluster.sh"
[ -f "$DATA/a9a/a9a.train.libsvm" ] || {
    echo "skipped: $DATA/a9a is not there (set PENSTOCK_DATA)"
    exit 77
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
PS=$BUILD/bin/penstock-ps
WORKER=$BUILD/bin/penstock-worker
rows=32561

# prepare NAME SERVERS SHARDS WORKERS EPOCHS: $dir, as the front leaves it before it starts anything.
prepare() {
    dir=$WORK/$1
    mkdir -p "$dir/log"
    cat >"$dir/resolved.yaml" <<YAML
data: {root: $DATA, train: a9a/a9a.train.libsvm, valid: a9a/a9a.test.libsvm, format: libsvm, cache: $WORK/cache}
model: {family: lr}
optimizer:
  embedding: {kind: adam, rate: 5e-3, l2: 1e-5}
  dense: {kind: adam, rate: 5e-3}
train: {epochs: $5, batch: 512, plateau: {patience: 0}}
cluster: {servers: $2, shards: $3, workers: $4, cut_every: 300ms, orphan: 3s, recover: 20s}
YAML
    "$PENSTOCK" data convert "$dir/resolved.yaml" --out "$WORK/cache" >"$dir/convert.log" 2>&1 || return 1
    "$WORKER" --plan "$dir/resolved.yaml" >"$dir/plan.json" || return 1
    od -An -N8 -tx8 /dev/urandom | tr -d ' \n' >"$dir/job"
}
server() { # server I N [--head]: in the background, pid in $ps_I
    "$PS" --dir "$dir" --server "$1" --servers "$2" ${3:-} </dev/null >"$dir/ps-$1.out" 2>&1 &
    eval "ps_$1=$!"
}
workers() { # workers N: in the background, pid in $mpi
    mpirun --bind-to none --mca btl self,vader -np "$1" "$WORKER" --dir "$dir" </dev/null >"$dir/mpi.out" 2>&1 &
    mpi=$!
}
gone() { ! kill -0 "$1" 2>/dev/null; }
# ends PID CODE SECONDS: it ends in time, with this code ("bad": any but 0).
ends() {
    eventually "$3" gone "$1" || { kill -9 "$1"; return 1; }
    wait "$1"
    got=$?
    [ "$2" = bad ] && [ $got -ne 0 ] && return 0
    [ "$got" = "$2" ] || { echo "code $got, not $2"; tail -n 5 "$dir"/*.out "$dir"/log/*; return 1; }
}
cuts() { [ "$(ls "$dir/cuts" 2>/dev/null | grep -c '\.json$')" -ge "$1" ]; }
counted() { # counted RECORDS: the head's last words
    tr -d ' \n' <"$dir/run.json" | grep -q "\"applied\":$1,\"doubled\":0,\"skipped\":0" && return 0
    tr -d ' \n' <"$dir/run.json" | grep -o '"counters":{[^}]*}'
    return 1
}
says() { grep -qE -- "$2" "$dir/log/$1.log"; }
left() { pgrep -f -- "--dir $dir( |\$)" >/dev/null; }
none() { ! left; }

# -- the plain case --
prepare one 1 1 1 2
server 0 1 --head
workers 1
check "1 x 1: workers end well" ends "$mpi" 0 60
check "1 x 1: the server ends well" ends "$ps_0" 0 20
check "1 x 1: each record once" counted $((rows * 2))
check "1 x 1: the log begins with job, hashes and versions" says ps-0 "job [0-9a-f]{16}.*config [0-9a-f]{16}.*ZeroMQ"

# -- 2 servers x 2 shards each x 2 workers; the head comes last; strangers knock meanwhile --
prepare two 2 4 2 30
workers 2
server 1 2
sleep 1
server 0 2 --head
check "2 x 4 x 2: a late head finds its peers" eventually 30 cuts 1
port() { says "$1" "$2: listens at" && grep -oE "$2: listens at tcp://127.0.0.1:[0-9]+" "$dir/log/$1.log" | tail -n 1 | grep -oE '[0-9]+$'; }
for at in "ps-0 head" "ps-0 shard 0" "ps-1 shard 1"; do
    p=$(port ${at%% *} "${at#* }")
    for n in 1 10 64 1000 100000; do
        { exec 9<>"/dev/tcp/127.0.0.1/$p" && head -c $n /dev/urandom >&9; } 2>/dev/null
        exec 9>&-
    done
    { exec 9<>"/dev/tcp/127.0.0.1/$p" && printf 'GET / HTTP/1.0\r\n\r\n' >&9; } 2>/dev/null
    exec 9>&-
done
mkdir -p "$WORK/stranger"
cp "$dir/resolved.yaml" "$WORK/stranger/"
awk '{ print $1, "0123456789abcdef", $3 }' "$dir/head" >"$WORK/stranger/head"
echo 0123456789abcdef >"$WORK/stranger/job"
check "2 x 4 x 2: a stranger gets no answer" sh -c "! timeout 20 $PENSTOCK status $WORK/stranger --json | grep -q phase"
check "2 x 4 x 2: workers end well" ends "$mpi" 0 120
check "2 x 4 x 2: server 0 ends well" ends "$ps_0" 0 20
check "2 x 4 x 2: server 1 ends well" ends "$ps_1" 0 20
check "2 x 4 x 2: each record once" counted $((rows * 30))
check "2 x 4 x 2: the stranger was refused" says ps-0 "another job is refused"
check "2 x 4 x 2: cuts verify" "$PENSTOCK" snap verify "$dir"

# -- TERM: the head makes a cut; a server without the head waits for its word; going on counts each once --
prepare term 2 2 2 200
server 0 2 --head
server 1 2
workers 2
check "TERM: training" eventually 60 cuts 1
kill -TERM "$ps_1"
sleep 0.5
check "TERM to the other server: it stays" kill -0 "$ps_1"
kill -TERM "$ps_0"
check "TERM to the head: workers end well" ends "$mpi" 0 20
check "TERM to the head: it ends well" ends "$ps_0" 0 20
check "TERM to the head: the other server ends well" ends "$ps_1" 0 20
check "TERM to the head: it says so" says ps-0 "stopped as asked"
sed -i 's/epochs: 200/epochs: 3/' "$dir/resolved.yaml"
: >"$dir/run.json"

# -- 3 epochs in two goes, by a TERM in the middle --
prepare again 1 2 1 6
server 0 1 --head
workers 1
check "again: training" eventually 60 cuts 1
kill -TERM "$ps_0"
check "again: ends well" ends "$ps_0" 0 20
check "again: workers end well" ends "$mpi" 0 20
server 0 1 --head
workers 1
check "again: goes on to its end" ends "$ps_0" 0 60
check "again: workers end well again" ends "$mpi" 0 20
check "again: each record once" counted $((rows * 6))

# -- TERM twice --
prepare twice 1 1 1 200
server 0 1 --head
workers 1
check "twice: training" eventually 60 cuts 1
kill -STOP "$mpi" # so that a graceful end would take long
kill -TERM "$ps_0"
kill -INT "$ps_0"
check "twice: ends at once, code 1" ends "$ps_0" 1 5
kill -CONT "$mpi"
check "twice: workers give up" ends "$mpi" bad 30

# -- kill -9 of each --
for victim in ps_0 ps_1 worker; do
    prepare "kill-$victim" 2 2 2 500
    server 0 2 --head
    server 1 2
    workers 2
    check "kill $victim: training" eventually 60 cuts 2
    if [ $victim = worker ]; then
        for p in $(pgrep -f -- "penstock-worker --dir $dir"); do
            [ "$(cat "/proc/$p/comm" 2>/dev/null)" = penstock-worker ] && victim_pid=$p
        done
        kill -9 "$victim_pid"
    else
        kill -9 "${!victim}"
    fi
    check "kill $victim: workers end with an error" ends "$mpi" bad 30
    check "kill $victim: server 0 ends with an error" ends "$ps_0" bad 30
    check "kill $victim: server 1 ends with an error" ends "$ps_1" bad 30
    check "kill $victim: nothing is left" eventually 10 none
    check "kill $victim: cuts verify" "$PENSTOCK" snap verify "$dir"
done

# -- the lifeline --
prepare lifeline 1 1 1 1
mkfifo "$dir/line"
"$PS" --dir "$dir" --server 0 --servers 1 --head --lifeline <"$dir/line" >"$dir/ps-0.out" 2>&1 &
ps_0=$!
exec 8>"$dir/line"
check "lifeline: the server lives while it holds" eventually 20 test -f "$dir/head"
exec 8>&-
check "lifeline: broken, it ends with code 1" ends "$ps_0" 1 5
check "lifeline: it says why" says ps-0 "the front is gone"

# -- wrong calls and folders --
refused() { # refused CODE TEXT command...
    want=$1 text=$2
    shift 2
    timeout 30 "$@" >"$WORK/refused.log" 2>&1
    got=$?
    [ $got = "$want" ] && grep -qE -- "$text" "$WORK/refused.log" && return 0
    echo "code $got"
    cat "$WORK/refused.log"
    return 1
}
check "no folder" refused 1 "nothere" "$PS" --dir "$WORK/nothere" --server 0 --servers 1
check "server out of range" refused 2 "usage" "$PS" --dir "$dir" --server 2 --servers 2
check "unknown flag" refused 2 "known" "$PS" --dir "$dir" --serve 2
check "worker: no folder" refused 1 "nothere" "$WORKER" --dir "$WORK/nothere"
echo "not an id" >"$dir/job"
check "damaged job id" refused 3 "job: not a job id" "$PS" --dir "$dir" --server 0 --servers 1
printf '0123456789abcdef\n' >"$dir/job"
sed -i 's/"seed"/"sood"/' "$dir/plan.json"
check "damaged plan" refused 3 "plan.json" "$PS" --dir "$dir" --server 0 --servers 1
finish
