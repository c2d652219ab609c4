#!/bin/bash
# selftest.sh: a check that cannot fail proves nothing. Plants one violation after the other in a small tree of its
# own and expects the check to name it; and expects the tree without one to be clean.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/penstock-house.XXXXXX")
trap 'rm -rf "$work"' EXIT
clean=$work/clean tree=$work/tree
export CC=${CC:-gcc}
planted=0 bad=0

put() { # file, text
    case $1 in */*) [ -d "$tree/${1%/*}" ] || mkdir -p "$tree/${1%/*}" ;; *) [ -d "$tree" ] || mkdir -p "$tree" ;; esac
    printf '%b' "$2" >"$tree/$1"
}

# The clean tree is written once and copied: processes are what this script costs.
fresh() {
    rm -rf "$tree"
    cp -r "$clean" "$tree"
}

plant_clean_tree() {
    tree=$clean
    put .clang-format "$(cat "$here/../../.clang-format")"
    put common/base/status.h '#ifndef S_H\n#define S_H\nint status_ok(void);\n#endif\n'
    put common/base/status.c '#include "common/base/status.h"\n\nint status_ok(void)\n{\n    return 0;\n}\n'
    put common/nn/graph.h '#ifndef G_H\n#define G_H\n#include "common/base/status.h"\nint graph(void);\n#endif\n'
    put ps/optim/optim.h '#ifndef O_H\n#define O_H\n#endif\n'
    put ps/train/applier.c '#include <stdio.h>\n#include "ps/optim/optim.h"\n'
    put ps/train/b.h '#ifndef B_H\n#define B_H\n#endif\n'
    put worker/client_step.h '#ifndef C_H\n#define C_H\n#endif\n'
    put worker/comm.c '#include <mpi.h>\n'
    put launch/check.c '#include "common/nn/graph.h"\n'
    put tests/unit/t.c '#include <cmocka.h>\n#include <zmq.h>\n#include "worker/client_step.h"\n'
    put tests/support/h.h '#ifndef H_H\n#define H_H\n#endif\n'
    tree=$work/tree
}

expect() { # name, exit code (0 or 1), text, command...
    local name=$1 want=$2 text=$3 out rc=0
    shift 3
    out=$("$@" 2>&1) || rc=1
    planted=$((planted + 1))
    if [ $rc != "$want" ] || ! grep -qF -- "$text" <<<"$out"; then
        bad=$((bad + 1))
        printf 'selftest: %s: exit %s, expected %s and "%s"; got:\n%s\n' "$name" $rc "$want" "$text" "$out"
    fi
}

floor() { # name, text, file, content: the tree with this file is refused
    fresh
    put "$3" "$4"
    expect "$1" 1 "$2" "$here/floors.sh" "$tree"
}

plant_clean_tree
fresh
expect 'clean floors' 0 'no circles' "$here/floors.sh" "$tree"
floor 'from the root' 'not written from the root' common/base/a.c '#include "status.h"\n'
floor 'no such file' 'no file of this tree' common/base/a.c '#include "common/base/none.h"\n'
floor 'upwards' 'common/base may not include common/nn' common/base/a.c '#include "common/nn/graph.h"\n'
floor 'sideways' 'common/wire may not include common/nn' common/wire/a.c '#  include "common/nn/graph.h"\n'
floor 'worker and launch' 'launch may not include worker' launch/a.c '#include "worker/client_step.h"\n'
floor 'optim is for train' 'worker may not include ps/optim' worker/a.c '#include "ps/optim/optim.h"\n'
floor 'snapshot and optim' 'ps/snapshot may not include ps/optim' ps/snapshot/a.c '#include "ps/optim/optim.h"\n'
floor 'store and train' 'ps/store may not include ps/train' ps/store/a.c '#include "ps/train/b.h"\n'
floor 'nobody includes tests' 'may not include tests' common/base/a.c '#include "tests/support/h.h"\n'
floor 'zmq' '<zmq.h> has one door, common/net' worker/a.c '#include <zmq.h>\n'
floor 'mpi is for one file' '<mpi.h> has one door, worker/comm.c' worker/a.c '#include <mpi.h>\n'
floor 'cblas' '<cblas.h> has one door, common/math' common/nn/a.c '#include <cblas.h>\n'
floor 'yaml' '<yaml.h> has one door, common/base' launch/a.c '#include <yaml.h>\n'
floor 'jansson' '<jansson.h> has one door' ps/snapshot/a.c '#include <jansson.h>\n'
floor 'xxhash' '<xxhash.h> has one door' ps/store/a.c '#include <xxhash.h>\n'
floor 'zlib' '<zlib.h> has one door' common/data/a.c '#include <zlib.h>\n'
floor 'zstd' '<zstd.h> has one door' common/data/a.c '#include <zstd.h>\n'
floor 'protobuf-c' '<protobuf-c/protobuf-c.h> has one door' ps/train/a.c '#include <protobuf-c/protobuf-c.h>\n'
floor 'generated' 'one door, common/wire' ps/train/a.c '#include "proto/train.pb-c.h"\n'
floor 'no door' '<curses.h> has no door' launch/a.c '#include <curses.h>\n'
floor 'a source' 'a source is not included' common/base/a.c '#include "common/base/status.c"\n'
floor 'a room without a floor' 'has no floor' ps/other/a.c 'int x;\n'
fresh
put common/base/a.h '#include "common/base/b.h"\n'
put common/base/b.h '#include "common/base/c.h"\n'
put common/base/c.h '#include "common/base/a.h"\n'
expect 'a circle' 1 'a circle: common/base/a.h common/base/b.h common/base/c.h common/base/a.h' "$here/floors.sh" "$tree"
rm -rf "${tree:?}"/*
expect 'no source' 1 'no source found' "$here/floors.sh" "$tree"

all='common/base/status.c ps/train/applier.c'
mains='worker/comm.c launch/check.c'
lists() { # name, exit code, text, SOURCES, MAINS
    expect "$1" "$2" "$3" env SOURCES="$4" MAINS="$5" "$here/lists.sh" "$tree"
}
fresh
lists 'clean lists' 0 '4 sources, each in its list' "$all" "$mains"
lists 'in no list' 1 'launch/check.c: in no list' "$all" worker/comm.c
lists 'no file' 1 'ps/train/no.c: listed in the Makefile, but no file' "$all ps/train/no.c" "$mains"
lists 'listed twice' 1 'worker/comm.c: listed twice' "$all worker/comm.c" "$mains"
put common/base/a_z.c ''
lists 'not in order' 1 'common/base/a_z.c: not in the order' "common/base/status.c common/base/a_z.c ps/train/applier.c" "$mains"
lists 'in order' 0 '5 sources' "common/base/a_z.c $all" "$mains"

fresh
expect 'clean headers' 0 'compile alone' "$here/headers.sh" "$tree"
put common/base/a.h '#ifndef A_H\n#define A_H\nsize_t a(void);\n#endif\n'
expect 'header not alone' 1 'common/base/a.h: does not compile alone' "$here/headers.sh" "$tree"
put common/base/a.h 'struct a {\n    int b;\n};\n'
expect 'header without guard' 1 'common/base/a.h: does not compile alone' "$here/headers.sh" "$tree"
put common/base/a.h '#ifndef A_H\n#define A_H\nint a();\n#endif\n'
expect 'header with a warning' 1 'common/base/a.h: does not compile alone' "$here/headers.sh" "$tree"

fresh
put common/base/big.c "int big_one(int a,\n            int b)\n{\n$(printf '    ;\\n%.0s' $(seq 200))}\n"
expect 'sizes' 0 '   204  big_one  common/base/big.c:1' "$here/sizes.sh" "$tree"

if command -v "${CLANG_FORMAT:-clang-format}" >/dev/null 2>&1; then
    fresh
    rm "$tree"/{common/nn,ps/optim,worker,ps/train,tests/unit,tests/support}/*
    expect 'clean format' 0 'format: ' "$here/format.sh" "$tree"
    put common/base/a.c 'int a (void) {\n  return 0; }\n'
    expect 'format' 1 'common/base/a.c:1: not formatted' "$here/format.sh" "$tree"
fi

# Symbols need little programs. They are linked with stand-ins that have the forbidden names.
programs() { # text of penstock-ps, of penstock; the rest is clean
    fresh
    mkdir -p "$tree"/b/{bin,obj/lib,obj/common/base,obj/ps/train}
    put src/ps.c "$1"
    put src/front.c "$2"
    put src/applier.c 'int applier_apply(void);\nint applier_apply(void) { return 0; }\n'
    put src/clean.c 'int clean(void);\nint clean(void) { return 0; }\n'
    (
        cd "$tree" || exit 1
        $CC -c src/applier.c -o b/obj/ps/train/applier.o && ar rcs b/obj/lib/libtrain.a b/obj/ps/train/applier.o &&
            $CC -c src/clean.c -o b/obj/common/base/clean.o &&
            $CC src/ps.c -o b/bin/penstock-ps && $CC src/front.c b/obj/lib/libtrain.a -o b/bin/penstock
    ) || echo "selftest: could not build the planted programs"
}
programs 'int main(void) { return 0; }\n' 'int main(void) { return 0; }\n'
expect 'clean symbols' 0 '2 programs and 2 objects' "$here/symbols.sh" "$tree/b"
programs 'int MPI_Init(void);\nint MPI_Init(void) { return 0; }\nint main(void) { return MPI_Init(); }\n' 'int main(void) { return 0; }\n'
expect 'MPI in the server' 1 'penstock-ps has MPI: MPI_Init' "$here/symbols.sh" "$tree/b"
programs 'int cblas_sgemm(void) { return 0; }\nint main(void) { return 0; }\n' 'int main(void) { return 0; }\n'
expect 'BLAS in the server' 1 'penstock-ps has BLAS: cblas_sgemm' "$here/symbols.sh" "$tree/b"
programs 'int main(void) { return 0; }\n' 'int applier_apply(void);\nint main(void) { return applier_apply(); }\n'
expect 'an applier in the front' 1 'penstock has symbols of ps/train: applier_apply' "$here/symbols.sh" "$tree/b"
programs 'int main(void) { return 0; }\n' 'int main(void) { return 0; }\n'
printf '#include <stdlib.h>\nint main(void) { return getenv("A") != 0; }\n' >"$tree/env.c"
$CC -c "$tree/env.c" -o "$tree/b/obj/common/base/clock.o"
expect 'getenv' 1 'common/base/clock.c calls getenv' "$here/symbols.sh" "$tree/b"
cp "$tree/b/obj/common/base/clock.o" "$tree/b/obj/common/base/options.o"
rm "$tree/b/obj/common/base/clock.o"
expect 'getenv in its place' 0 'symbols: 2 programs' "$here/symbols.sh" "$tree/b"
printf 'int b(void);\nint a(void) { return b(); }\n' >"$tree/src/a.c"
printf 'int a(void);\nint b(void) { return a(); }\n' >"$tree/src/b.c"
for f in a b; do $CC -c "$tree/src/$f.c" -o "$tree/b/obj/common/base/$f.o"; done
expect 'calls in a circle' 1 'a circle: common/base/a common/base/b common/base/a' "$here/symbols.sh" "$tree/b"
expect 'no build' 1 'no objects' "$here/symbols.sh" "$tree/nothing"

if [ $bad -gt 0 ]; then
    echo "selftest: $bad of $planted planted cases came out wrong"
    exit 1
fi
echo "selftest: $planted planted cases, each judged right"
