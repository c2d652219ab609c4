#!/bin/bash
# symbols.sh [BUILD]: what the linker knows about who can do what. Looks at a finished build.
#
# - penstock-ps: no MPI, no BLAS, and no library of theirs. A server needs neither a world nor a layer.
# - penstock and penstock-worker (and penstock-serve, once there is one): nothing of ps/optim and ps/train, so no
#   optimizer, no applier, no recv_push: only a server trains.
# - penstock: no MPI. It starts mpirun, and lives on when the world dies.
# - No circles: inside a room, objects call (and point at) each other one way only.
# - getenv: only common/base/options.c asks the environment; exceptions stand below with their reason.
#
# A program that is not built yet is skipped with a line. Exit 1 on a violation.
set -euo pipefail
build=${1:-${BUILD:-build}}
bad=0
complain() {
    echo "symbols: $*"
    bad=1
}

# Objects besides common/base/options.o that may call getenv, and why.
getenv_allowed=(
    worker/comm.o # mpirun tells rank and local rank by environment before MPI_Init
)

global_symbols() { # file: defined names
    nm -g --defined-only "$1" 2>/dev/null | awk 'NF == 3 { print $3 }' | sort -u
}

forbid_pattern() { # program, pattern, what it is
    local all hits
    all=$(nm "$build/bin/$1" | awk '{ print $NF }') || { complain "$1: nm can't read it"; return; }
    hits=$(awk -v p="$2" '$0 ~ p && n++ < 5' <<<"$all" | tr '\n' ' ')
    [ -z "$hits" ] || complain "$1 has $3: $hits"
}

forbid_library() { # program, pattern
    local all hits
    all=$(readelf -d "$build/bin/$1") || { complain "$1: readelf can't read it"; return; }
    hits=$(awk -v p="$2" '/NEEDED/ && match($0, /\[.*\]/) { name = substr($0, RSTART, RLENGTH); if (name ~ p) print name }' <<<"$all" | tr '\n' ' ')
    [ -z "$hits" ] || complain "$1 is linked with $hits"
}

forbid_archive() { # program, room
    local hits
    [ -f "$build/obj/lib/lib$2.a" ] || return 0
    hits=$(comm -12 <(global_symbols "$build/obj/lib/lib$2.a") <(global_symbols "$build/bin/$1") |
        head -n 5 | tr '\n' ' ')
    [ -z "$hits" ] || complain "$1 has symbols of ps/$2: $hits"
}

looked_at=0
for program in penstock penstock-ps penstock-worker penstock-serve; do
    if [ ! -f "$build/bin/$program" ]; then
        [ $program = penstock-serve ] || echo "symbols: $program is not built, skipped"
        continue
    fi
    looked_at=$((looked_at + 1))
    if [ "$(global_symbols "$build/bin/$program" | wc -l)" -lt 2 ]; then
        complain "$program is stripped: nothing to look at"
    fi
    case $program in
    penstock-ps)
        forbid_pattern $program '^(MPI_|PMPI_|ompi_|opal_)' MPI
        forbid_pattern $program '^cblas_|^openblas_|^[sd]gem[mv]_$' BLAS
        forbid_library $program 'libmpi|blas|libopen-'
        ;;
    *)
        forbid_archive $program optim
        forbid_archive $program train
        if [ $program != penstock-worker ]; then
            forbid_pattern $program '^(MPI_|PMPI_|ompi_|opal_)' MPI
            forbid_library $program 'libmpi|libopen-'
        fi
        ;;
    esac
done

objects=0
while read -r object; do
    objects=$((objects + 1))
    name=${object#"$build"/obj/}
    [ "$name" = common/base/options.o ] && continue
    for allowed in "${getenv_allowed[@]}"; do
        [ "$name" = "$allowed" ] && continue 2
    done
    # Not grep -q: it would leave nm with a broken pipe, which pipefail takes for "not found".
    if nm -u "$object" | grep -E ' (secure_)?getenv$' >/dev/null; then
        complain "${name%.o}.c calls getenv: only common/base/options.c may"
    fi
done < <(find "$build"/obj/{common,ps,worker,launch}/ -name '*.o' 2>/dev/null | sort)
if [ $objects = 0 ]; then
    complain "no objects in $build"
fi

# One pass of nm over all objects: who defines a name, who asks for it; then depth first over the objects of each room.
circles() {
    find "$build"/obj/{common,ps,worker,launch}/ -name '*.o' 2>/dev/null | sort | xargs -r nm -A | awk -v top="$build/obj/" '
        function room(object) { sub(/\/[^\/]*$/, "", object); return object }
        function visit(o, trail,   n, i, next_of) {
            state[o] = 1
            n = split(edges[o], next_of, " ")
            for (i = 1; i <= n; i++) {
                if (!(next_of[i] in state))
                    visit(next_of[i], trail " " next_of[i])
                else if (state[next_of[i]] == 1)
                    print "a circle:" substr(trail, index(trail " ", " " next_of[i] " ")) " " next_of[i] \
                          " (the last asks for " asked[o, next_of[i]] ")"
            }
            state[o] = 2
        }
        {
            object = $1
            sub(/:.*/, "", object)
            object = substr(object, length(top) + 1)
            sub(/\.o$/, "", object)
            if (!(object in seen)) { seen[object] = 1; order[++count] = object }
            if ($(NF - 1) == "U") wants[object] = wants[object] " " $NF
            else if ($(NF - 1) ~ /^[TDBRVWC]$/) owner[$NF] = object
        }
        END {
            for (c = 1; c <= count; c++) {
                o = order[c]
                n = split(wants[o], name, " ")
                for (i = 1; i <= n; i++) {
                    if (!(name[i] in owner)) continue
                    d = owner[name[i]]
                    if (d == o || room(d) != room(o) || (o, d) in asked) continue
                    asked[o, d] = name[i]
                    edges[o] = edges[o] " " d
                }
            }
            for (c = 1; c <= count; c++) if (!(order[c] in state)) visit(order[c], " " order[c])
        }'
}
while read -r circle; do
    complain "$circle"
done < <(circles)

[ $bad = 0 ] && echo "symbols: $looked_at programs and $objects objects hold nothing they should not"
exit $bad
