#!/usr/bin/env bash
# `penstock submit` to a real Slurm: munged, slurmctld and three slurmd on this host, in namespaces of their own.
# The nodes share one network namespace; 10.78.0.1 is the address that all of them reach.
. "$(dirname "$0")/../support/sandbox.sh"
sandbox_needs ip unshare munged slurmctld slurmd sbatch srun scontrol squeue
sandbox "$@"
. "$(dirname "$0")/../support/cluster.sh"

ip link add psbr type bridge && ip addr add 10.78.0.1/24 dev psbr && ip link set psbr up || {
    echo "skipped: this kernel makes no bridge"
    exit 77
}
host=$(hostname)
export SLURM_CONF=$WORK/slurm.conf
mkdir -p "$WORK"/{state,log,munge}
chmod 755 "$WORK"
dd if=/dev/urandom of="$WORK/munge/key" bs=1 count=128 2>/dev/null
chmod 600 "$WORK/munge/key"
chmod 700 "$WORK/munge"
mkdir -p /run/munge
munged --key-file="$WORK/munge/key" --socket=/run/munge/munge.socket.2 --pid-file="$WORK/munge/pid" \
    --log-file="$WORK/munge/log" --seed-file="$WORK/munge/seed" --force >"$WORK/munged.out" 2>&1 || {
    cat "$WORK/munged.out" "$WORK/munge/log"
    echo "skipped: munged doesn't start here"
    exit 77
}
# Several slurmd on one host, each with its port and its folders; short timeouts; more processors than there are.
cat >"$SLURM_CONF" <<CONF
ClusterName=ci
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket=/run/munge/munge.socket.2,cred_expire=5
SlurmctldPort=26817
StateSaveLocation=$WORK/state
SlurmdSpoolDir=$WORK/spool.%n
TmpFS=$WORK/tmp.%n
SlurmctldPidFile=$WORK/slurmctld.pid
SlurmdPidFile=$WORK/slurmd.%n.pid
SlurmctldLogFile=$WORK/log/slurmctld.log
SlurmdLogFile=$WORK/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=bf_interval=1,sched_interval=1,batch_sched_delay=0
SlurmdTimeout=10
KillWait=5
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
NodeName=DEFAULT CPUs=4 RealMemory=4000 State=UNKNOWN
NodeName=n1 NodeHostname=$host NodeAddr=127.0.0.1 Port=26821
NodeName=n2 NodeHostname=$host NodeAddr=127.0.0.1 Port=26822
NodeName=n3 NodeHostname=$host NodeAddr=127.0.0.1 Port=26823
PartitionName=DEFAULT Nodes=n1,n2,n3 MaxTime=INFINITE State=UP
PartitionName=main Default=YES PriorityTier=1 GraceTime=8
PartitionName=high PriorityTier=10 PreemptMode=off
CONF
idle() { [ "$(sinfo -h -p main -t idle -o %D 2>/dev/null)" = 3 ]; }
slurmctld -f "$SLURM_CONF"
for n in n1 n2 n3; do
    mkdir -p "$WORK"/{spool,tmp}.$n
    slurmd -N $n -f "$SLURM_CONF"
done
eventually 30 idle || {
    tail -n 5 "$WORK"/log/*
    echo "skipped: Slurm doesn't come up here"
    exit 77
}
small_shop "$WORK" 60000 || exit 1

submit() { # submit NAME flags...
    "$PENSTOCK" submit "$WORK/job.yaml" --out "$WORK/$1" --nodes 3 --servers 3 --workers 3 --set cluster.bind=10.78.0.0/24 "${@:2}"
}
state() { scontrol show job "$1" 2>/dev/null | sed -n 's/.*JobState=\([A-Z_]*\).*/\1/p'; }
is() { [ "$(state "$1")" = "$2" ]; }
ended() { case $(state "$1") in COMPLETED | FAILED | CANCELLED | TIMEOUT | NODE_FAIL) ;; *) false ;; esac; }
shown() { # shown NAME ID STATE SECONDS: it ends so, or everything is shown that could say why
    eventually "$4" ended "$2"
    is "$2" "$3" && return 0
    scontrol show job "$2"
    tail -n 30 "$WORK/$1"/slurm-*.log "$WORK"/log/slurmctld.log
    false
}
refused() {
    "${@:3}" >"$WORK/refused.log" 2>&1
    code=$?
    cat "$WORK/refused.log"
    [ $code = "$1" ] && grep -q -- "$2" "$WORK/refused.log"
}
valid_auc() { sed -n '/"valid"/,/}/p' "$WORK/$1/report.json" | sed -n 's/.*"auc": \([0-9.]*\).*/\1/p' | head -n 1; }
close_to() { awk -v a="$(valid_auc "$1")" -v b="$(valid_auc "$2")" 'BEGIN { print a, b; exit !(a > .5 && a - b < .01 && b - a < .01) }'; }
exact() { # exact NAME EPOCHS
    r=$WORK/$1/report.json
    [ "$(json "$r" applied)" = $(($(json "$r" train) * $2)) ] && [ "$(json "$r" doubled)" = 0 ] && [ "$(json "$r" skipped)" = 0 ]
}
cuts() { [ "$(ls "$WORK/$1/cuts" 2>/dev/null | grep -c '\.json$')" -ge "$2" ]; }
all_gone() { ! pgrep -f "penstock-(ps|worker) --dir $WORK/$1( |\$)" >/dev/null; }

check "on this host, without Slurm" "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/here" --servers 2 --workers 2
check "--print prints a script" submit quiet --print
submit quiet --print >"$WORK/quiet.sh" 2>/dev/null
check "the script is bash" bash -n "$WORK/quiet.sh"
check "--print submits and writes nothing" test ! -e "$WORK/quiet"
check "no sbatch: exit 1, and what to install" refused 1 'apt-get install slurm-client' env PATH=/nowhere "$PENSTOCK" submit "$WORK/job.yaml" --out "$WORK/none"
check "loopback is refused on several nodes" refused 2 cluster.bind submit no --set cluster.bind=127.0.0.1
check "a folder with a run is refused" refused 2 'holds a run already' submit here
check "--slurm outside of an allocation is refused" refused 2 'penstock submit' "$PENSTOCK" train "$WORK/job.yaml" --slurm --out "$WORK/no"

id=$(submit wide -- -p main --comment="a word or two")
check "the job's id alone is printed" test "$(tr -d 0-9 <<<"$id")" = ''
check "3 servers and 3 workers on 3 nodes" shown wide "$id" COMPLETED 120
check "each record once" exact wide 2
check "valid AUC as on this host" close_to wide here
check "every node started tasks" test "$(grep -l 'launch task' "$WORK"/log/slurmd.n?.log | wc -l)" = 3
check "a log for each role" ls "$WORK/wide/log/ps-0.log" "$WORK/wide/log/ps-2.log" "$WORK/wide/log/worker-2.log" "$WORK/wide/slurm-$id.log"
check "no process left" eventually 10 all_gone wide

# TERM to the batch shell, as --signal=B: does before the time limit: a cut, the queue again, and on from there.
id=$(submit limit --set train.epochs=12 --set train.plateau.patience=0 --set cluster.cut_every=300ms)
eventually 60 cuts limit 2
check "TERM before the limit" scancel --batch --signal=TERM "$id"
check "it stops at a cut" eventually 60 grep -q 'stopped at cut' "$WORK/limit/slurm-$id.log"
check "the same job goes on and ends" shown limit "$id" COMPLETED 180
check "it was begun again" grep -q -- 'Restarts=1' <(scontrol show job "$id")
check "limit: each record once" exact limit 12

# A server is lost: the run goes on from its last cut, in the same allocation.
id=$(submit lost --set train.epochs=8 --set train.plateau.patience=0 --set cluster.cut_every=300ms)
eventually 60 cuts lost 2
check "a server is killed" kill -9 "$(pgrep -f "penstock-ps --dir $WORK/lost --server 1 ")"
check "the job goes on and ends" shown lost "$id" COMPLETED 120
check "from its last cut" grep -q 'going on from the last complete cut' "$WORK/lost/slurm-$id.log"
check "lost: each record once" exact lost 8

# Cancelled is cancelled: nothing comes back, nothing is left.
id=$(submit gone --set train.epochs=500 --set train.plateau.patience=0 --set cluster.cut_every=300ms)
eventually 60 cuts gone 1
check "scancel" scancel "$id"
check "cancelled, not requeued" shown gone "$id" CANCELLED 60
check "no process left after scancel" eventually 15 all_gone gone

# A job of higher priority takes the nodes: requeued, and on from the last complete cut. Long enough that it
# can't end by itself before Slurm has taken them.
id=$(submit low --set train.epochs=40 --set train.plateau.patience=0 --set cluster.cut_every=300ms)
eventually 60 cuts low 2
high=$(sbatch --parsable -p high -N3 -n12 -o "$WORK/high.log" --wrap 'sleep 3')
check "a job that is more important runs" shown low "$high" COMPLETED 60
check "the preempted one goes on and ends" shown low "$id" COMPLETED 180
check "it was requeued for that" sh -c "scontrol show job $id | grep -q 'Restarts=[1-9]'"
check "preempted: each record once" exact low 40
finish
