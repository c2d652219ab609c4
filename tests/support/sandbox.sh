# sandbox.sh: namespaces of its own for a test that plays several hosts. Source it first, before cluster.sh.
#
# The script starts itself again as process 1 of new network, mount, process and host-name namespaces. Bridges, hosts,
# daemons, sockets in /run: all are made inside, nothing of the machine's is touched, and when the script ends, however
# it ends, the kernel ends every process inside and the rest goes with them.
#
# sandbox_needs COMMAND...: skip (77) where one is missing. sandbox "$@": go inside; returns when it is there.
export PATH=$PATH:/usr/sbin:/sbin

sandbox_needs() {
    for need in "$@"; do
        command -v "$need" >/dev/null 2>&1 || {
            echo "skipped: no $need here (launch/setup.sh --cluster installs what these tests need)"
            exit 77
        }
    done
}

sandbox() {
    if [ "${1:-}" = inside ]; then
        mount -t tmpfs none /run
        mkdir -p /run/netns /run/sshd /run/lock
        ip link set lo up
        return
    fi
    unshare --net --mount --uts --pid --fork --kill-child --mount-proc mount -t tmpfs none /run 2>/dev/null || {
        echo "skipped: no namespaces here (they need root, and a kernel that has them)"
        exit 77
    }
    exec unshare --net --mount --uts --pid --fork --kill-child --mount-proc bash "$0" inside
}
