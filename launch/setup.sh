#!/bin/sh
# setup.sh: installs what Penstock is built from, and nothing that is there already.
#
#     launch/setup.sh          what `make`, `make demo` and `make test` need
#     launch/setup.sh --dev    and what `make lint`, `make fuzz` and the test of penstock.py need besides
#     launch/setup.sh --cluster  and what `make test-hosts` and `make test-slurm` need: a real sshd, Slurm, munge
#     launch/setup.sh --check  only says what is missing; exits 1 if anything is
#
# For Debian 12 and its relatives: packages by apt-get, with sudo where the caller is not root. It asks
# dpkg first and is done in a blink when nothing is missing, so the Makefile calls it before each build
# (`make SETUP=no` does not). On a system without dpkg it looks for the tools, says what it can't find,
# and leaves the rest to the reader. Plain sh: a fresh system may have nothing better.
set -eu

# What each is for: gcc make pkg-config libc6-dev, the build; openmpi, the workers' world; zmq, between roles;
# protobuf-c, the envelope; openblas (the pthread build: chosen by CPU at run time, which the reference
# libblas is not), the layers; cmocka, the tests; yaml and jansson, jobs and reports; xxhash, checksums;
# zlib and zstd, logs as they are; microhttpd, /metrics; curl, the simulated people; procps, the test runner's look for
# what a test left behind.
packages='gcc libc6-dev make pkg-config libopenmpi-dev openmpi-bin libzmq3-dev libprotobuf-c-dev
protobuf-c-compiler libopenblas-pthread-dev libcmocka-dev libyaml-dev libjansson-dev libxxhash-dev
zlib1g-dev libzstd-dev libmicrohttpd-dev libcurl4-openssl-dev procps'
packages_cluster='iproute2 openssh-client openssh-server slurm-wlm munge prometheus'
packages_dev='binutils clang clang-format libclang-rt-14-dev python3-numpy'

say() {
    echo "setup: $*" >&2
}

check_only=no
for argument in "$@"; do
    case $argument in
    --dev) packages="$packages $packages_dev" ;;
    --cluster) packages="$packages $packages_cluster" ;;
    --check) check_only=yes ;;
    *)
        say "unknown argument '$argument'; known are --dev, --cluster and --check"
        exit 2
        ;;
    esac
done

if ! command -v dpkg-query >/dev/null 2>&1; then
    missing=
    for tool in gcc make pkg-config mpicc mpirun protoc-c; do
        command -v "$tool" >/dev/null 2>&1 || missing="$missing $tool"
    done
    [ -z "$missing" ] && exit 0
    say "this is not a Debian system, and these tools are missing:$missing"
    say "install them and the development files that go by these names in Debian 12:"
    say "$(echo $packages)"
    exit 1
fi

# Names without a version in one call; a package that dpkg has never heard of is only absent from the answer.
# pkg-config is provided by pkgconf on Debian 12, and either will do.
installed=" $(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages pkgconf 2>/dev/null |
    sed -n 's/^installed //p' | tr '\n' ' ') "
missing=
for package in $packages; do
    case $installed in
    *" $package "*) continue ;;
    esac
    case $package in
    pkg-config) case $installed in *" pkgconf "*) continue ;; esac ;;
    esac
    missing="$missing $package"
done
missing=${missing# }
[ -z "$missing" ] && exit 0

if [ "$check_only" = yes ]; then
    say "missing: $missing"
    exit 1
fi

if [ "$(id -u)" = 0 ]; then
    as_root=
elif command -v sudo >/dev/null 2>&1; then
    as_root=sudo
else
    say "missing: $missing"
    say "this needs root, and there is no sudo here. As root, run:"
    say "    apt-get install -y --no-install-recommends $missing"
    exit 1
fi

# DPkg::Lock::Timeout: a fresh cloud machine is often still at its own first upgrade.
apt() {
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@" >&2
}
install_missing() {
    apt install -y --no-install-recommends $missing
}

say "installing: $missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The lists first only if there are none: an update is the slow part. If an install fails, they may be stale.
updated=no
if ! ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1; then
    apt update >"$log" 2>&1 || { cat "$log" >&2; say "apt-get update failed: is the network there?"; }
    updated=yes
fi
if install_missing >"$log" 2>&1; then
    exit 0
fi
if [ "$updated" = no ]; then
    apt update >"$log" 2>&1 || say "apt-get update failed too: is the network there?"
    if install_missing >"$log" 2>&1; then
        exit 0
    fi
fi
cat "$log" >&2
for package in $missing; do
    if ! apt-cache show "$package" >/dev/null 2>&1; then
        say "apt knows no package '$package': is this Debian 12 (bookworm), with its main archive?"
    fi
done
say "apt-get could not install: $missing"
say "put right what it says above, then run launch/setup.sh again (or make SETUP=no to go on without)"
exit 1
