#!/usr/bin/env bash
# `penstock train --hostfile` over three hosts: network namespaces h1..h3 on a bridge, each with a real sshd and a name of
# its own; the front is a fourth. They share the file system, but for one folder that h3 does not see.
. "$(dirname "$0")/../support/sandbox.sh"
sandbox_needs ip nsenter unshare ssh sshd ssh-keygen mpirun
sandbox "$@"
. "$(dirname "$0")/../support/cluster.sh"

net=10.77.0
ip link add psbr type bridge && ip addr add $net.254/24 dev psbr && ip link set psbr up || {
    echo "skipped: this kernel makes no bridge"
    exit 77
}
ssh-keygen -q -t ed25519 -N '' -f "$WORK/key"
ssh-keygen -q -t ed25519 -N '' -f "$WORK/host_key"
cp "$WORK/key.pub" "$WORK/authorized"
mkdir "$WORK/hidden"
cat >"$WORK/sshd.conf" <<CONF
HostKey $WORK/host_key
AuthorizedKeysFile $WORK/authorized
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
CONF
cat >"$WORK/ssh.conf" <<CONF
Host *
IdentityFile $WORK/key
IdentitiesOnly yes
StrictHostKeyChecking no
UserKnownHostsFile /dev/null
LogLevel ERROR
BatchMode yes
ConnectTimeout 3
CONF
# A locked root can't log in; in here it is not locked.
sed 's/^root:[^:]*:/root:*:/' /etc/shadow >"$WORK/shadow" && chmod 600 "$WORK/shadow" && mount --bind "$WORK/shadow" /etc/shadow
for i in 1 2 3; do
    ip netns add h$i
    ip link add hv$i type veth peer name eth0 netns h$i
    ip link set hv$i master psbr up
    ip -n h$i addr add $net.$i/24 dev eth0
    ip -n h$i link set eth0 up
    ip -n h$i link set lo up
    hide=true
    [ $i = 3 ] && hide="mount -t tmpfs none $WORK/hidden"
    nsenter --net=/run/netns/h$i unshare --uts --mount sh -c "hostname h$i; $hide; exec $(command -v sshd) -D -f $WORK/sshd.conf" \
        >"$WORK/sshd-$i.log" 2>&1 &
    echo "$net.$i slots=2" >>"$WORK/hostfile"
done
agent="ssh -F $WORK/ssh.conf"
up() { [ "$($agent $net.$1 hostname)" = "h$1" ]; }
for i in 1 2 3; do
    eventually 10 up $i || {
        cat "$WORK/sshd-$i.log"
        echo "skipped: no ssh to h$i"
        exit 77
    }
done
small_shop "$WORK" 60000 || exit 1

train() { # train NAME flags...
    "$PENSTOCK" train "$WORK/job.yaml" --out "$WORK/$1" --set cluster.agent="$agent" --set cluster.orphan=5s "${@:2}"
}
over_hosts() { train "$1" --hostfile "$WORK/hostfile" --servers 3 --workers 3 --set cluster.bind=$net.0/24 "${@:2}"; }
# refused CODE WORDS command...: it ends with this code, and says so.
refused() {
    "${@:3}" >"$WORK/refused.log" 2>&1
    code=$?
    cat "$WORK/refused.log"
    [ $code = "$1" ] && grep -q -- "$2" "$WORK/refused.log"
}
valid_auc() { sed -n '/"valid"/,/}/p' "$WORK/$1/report.json" | sed -n 's/.*"auc": \([0-9.]*\).*/\1/p' | head -n 1; }
close_to() { awk -v a="$(valid_auc "$1")" -v b="$(valid_auc "$2")" 'BEGIN { print a, b; exit !(a > .5 && a - b < .01 && b - a < .01) }'; }
exact() {
    r=$WORK/$1/report.json
    [ "$(json "$r" applied)" = $(($(json "$r" train) * 2)) ] && [ "$(json "$r" doubled)" = 0 ] && [ "$(json "$r" skipped)" = 0 ]
}
listens() { grep -q "listens at tcp://$net.$(($2 + 1)):" "$WORK/$1/log/ps-$2.log"; }
# A server of this run that does not hear the front must be gone: they are all processes of this namespace.
all_gone() { ! pgrep -f "penstock-(ps|worker) --dir $WORK/$1( |\$)" >/dev/null; }

check "on this host" train here --servers 2 --workers 2
check "loopback is refused for several hosts" refused 2 cluster.bind train no --hostfile "$WORK/hostfile"
check "one host's address is refused for several" refused 2 'address of one host' over_hosts no --set cluster.bind=$net.1
check "0.0.0.0 is refused" refused 2 'every network' over_hosts no --set cluster.bind=0.0.0.0
check "a folder that h3 does not see is refused" refused 2 "host $net.3 does not see $WORK/hidden/run" over_hosts hidden/run
cp "$WORK/hostfile" "$WORK/hostfile.9"
echo "$net.9 slots=1" >>"$WORK/hostfile.9"
check "a host that is not there is named" refused 1 "host $net.9" over_hosts no --force --hostfile "$WORK/hostfile.9"
echo 'bad;name slots=1' >"$WORK/hostfile.bad"
check "a line that is no host is named" refused 2 'hostfile.bad:1' over_hosts no --force --hostfile "$WORK/hostfile.bad"
check "3 servers and 3 workers on three hosts" over_hosts wide
check "each record once" exact wide
for i in 0 1 2; do check "server $i listens on host $((i + 1))" listens wide $i; done
check "valid AUC as on this host" close_to wide here
check "no process left on any host" all_gone wide

# kill -9 of a server on its host, in the middle; then --resume.
cuts() { [ "$(ls "$WORK/$1/cuts" 2>/dev/null | grep -c '\.json$')" -ge "$2" ]; }
over_hosts killed --set train.epochs=2 --set cluster.cut_every=100ms >"$WORK/killed.log" 2>&1 &
front=$!
eventually 30 cuts killed 2
victim=$(pgrep -f "penstock-ps --dir $WORK/killed --server 1 " | tail -n 1)
check "a server on its host is killed" kill -9 "$victim"
wait $front
ended=$?
if [ $ended -ne 0 ]; then
    check "the front says which" grep -q 'ps-1' "$WORK/killed.log"
    check "no process left after it" eventually 10 all_gone killed
    check "--resume goes on" over_hosts killed --resume
fi
check "killed: each record once" exact killed

# kill -9 of the front: what it started on other hosts ends by the lifeline.
over_hosts orphans --set train.epochs=200 --set train.plateau.patience=0 >"$WORK/orphans.log" 2>&1 &
front=$!
eventually 30 cuts orphans 1
check "the front is killed" kill -9 "$(pgrep -P $front)"
wait $front 2>/dev/null
check "nothing is left on any host" eventually 15 all_gone orphans
finish
