#!/bin/bash
# floors.sh [ROOT]: judges every #include of the tree against the floors of the house.
#
# - An include of ours is written from the root ("ps/store/table.h") and names a file that is there.
# - A room includes itself and the rooms that its line in the table below names, nothing else. So the four rooms
#   of the top floor never include each other (ps/train has ps/optim in its line, and is the only one),
#   and nobody includes tests.
# - An outside header goes through its one door, and an outside header that has no door is refused until it
#   gets one here. libc and the kernel need none. Tests may open any door.
# - No circles among headers, inside a room either. That *calls* run one way, too, is what symbols.sh sees in the
#   objects: a source may include the header of its caller for the types in it, and only the linker can tell.
#
# Prints "file:line: what is wrong" for each violation; exit 1 if there is one.
set -euo pipefail
root=${1:-.}
cd "$root"

list=$(mktemp)
trap 'rm -f "$list"' EXIT
find . \( -path './common/*' -o -path './ps/*' -o -path './worker/*' -o -path './launch/*' -o -path './tests/*' \) \
    \( -name '*.[ch]' -o -name '*.inc' \) | sed 's|^\./||' | LC_ALL=C sort >"$list"

LC_ALL=C awk -v list="$list" '
function room_is(path, includes,   n, i, part) {
    n = split(includes, part, " ")
    for (i = 1; i <= n; i++) may[path, part[i]] = 1
    may[path, path] = 1
    rooms[path] = 1
}

function door(pattern, at) {
    doors++
    door_pattern[doors] = pattern
    door_at[doors] = at
}

function room_of(file,   n, part) {
    n = split(file, part, "/")
    if (part[1] == "common" || part[1] == "ps") return n > 2 ? part[1] "/" part[2] : part[1]
    return part[1]
}

function complain(text) {
    print file ":" line ": " text
    bad = 1
}

function judge_ours(target,   there, stem) {
    if (target !~ /\//) {
        complain("\"" target "\" is not written from the root")
        return
    }
    if (target ~ /\.pb-c\.h$/) {
        if (room != "tests" && room != "common/wire")
            complain("\"" target "\": generated protobuf code has one door, common/wire")
        stem = target
        sub(/\.pb-c\.h$/, ".proto", stem)
        if ((getline there < stem) < 0) complain("\"" target "\": there is no " stem)
        close(stem)
        return
    }
    if (!(target in known)) {
        complain("\"" target "\" is no file of this tree")
        return
    }
    if (room == "tests") return
    if (target ~ /\.c$/) complain("\"" target "\": a source is not included")
    if (!((room, room_of(target)) in may)) {
        complain(room " may not include " room_of(target) " (\"" target "\")")
        return
    }
    if (file ~ /\.h$/ && target ~ /\.h$/ && target != file && !((file, target) in edge)) {
        edge[file, target] = file ":" line
        edges[file] = edges[file] " " target
    }
}

function judge_outside(target,   i) {
    if (room == "tests") return
    for (i = 1; i <= doors; i++) {
        if (target !~ door_pattern[i]) continue
        if (room != door_at[i] && file != door_at[i])
            complain("<" target "> has one door, " door_at[i])
        return
    }
    if (target in libc) return
    if (target ~ /intrin\.h$/ || target ~ /^(sys|linux|arpa|netinet|net|asm)\// || target ~ /^sanitizer\//) return
    complain("<" target "> has no door: give it one in tests/house/floors.sh, and its reason in the README of that room")
}

# Depth first; a header met again while it is still open closes a circle, printed once.
function visit(m, trail,   n, i, next_of, at) {
    state[m] = 1
    n = split(edges[m], next_of, " ")
    for (i = 1; i <= n; i++) {
        if (!(next_of[i] in state)) {
            visit(next_of[i], trail " " next_of[i])
        } else if (state[next_of[i]] == 1) {
            at = index(trail " ", " " next_of[i] " ")
            print edge[m, next_of[i]] ": a circle:" substr(trail, at) " " next_of[i]
            bad = 1
        }
    }
    state[m] = 2
}

BEGIN {
    # Floors 1 and 2.
    room_is("common/base", "")
    room_is("common/math", "common/base")
    room_is("common/wire", "common/base")
    room_is("common/feature", "common/base")
    room_is("common/metrics", "common/base")
    room_is("common/nn", "common/base common/math")
    # 3
    room_is("common/net", "common/base common/wire")
    room_is("common/data", "common/base common/feature common/math common/metrics")
    # 4
    four = "common/base common/math common/wire"
    room_is("ps/store", four)
    room_is("ps/optim", four)
    room_is("ps/snapshot", four " ps/store")
    # 5: all below, but each only itself; optimizers are for ps/train.
    below = four " common/feature common/metrics common/nn common/net common/data ps/store ps/snapshot"
    room_is("ps/train", below " ps/optim")
    room_is("ps/serve", below)
    room_is("worker", below)
    room_is("launch", below)

    door("^(zmq|microhttpd)\\.h$", "common/net")
    door("^(cblas|libxsmm)\\.h$", "common/math")
    door("^(protobuf-c|google)/|\\.pb-c\\.h$", "common/wire")
    door("^mpi\\.h$", "worker/comm.c")
    door("^(yaml|jansson|xxhash|zlib|zstd)\\.h$", "common/base")
    door("^curl/", "launch/simulate.c")
    door("^penstock_replica\\.h$", "ps/serve/client/follow.c")
    door("^cmocka\\.h$", "tests")

    n = split("assert ctype dirent dlfcn endian errno execinfo fcntl fenv float fnmatch ftw getopt glob grp ifaddrs inttypes " \
              "iso646 langinfo libgen limits link locale malloc math netdb poll pthread pwd sched semaphore setjmp " \
              "signal spawn stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings " \
              "syslog termios threads time ucontext unistd wchar wctype cpuid arm_neon", name, " ")
    for (i = 1; i <= n; i++) libc[name[i] ".h"] = 1

    while ((getline file < list) > 0) known[file] = ++files_count
    close(list)
    for (file in known) order[known[file]] = file
    for (f = 1; f <= files_count; f++) {
        file = order[f]
        room = room_of(file)
        if (room != "tests" && !(room in rooms)) {
            line = 1
            complain("room " room " has no floor in tests/house/floors.sh")
            continue
        }
        line = 0
        while ((getline text < file) > 0) {
            line++
            if (text !~ /^[ \t]*#[ \t]*include/) continue
            sub(/^[ \t]*#[ \t]*include[ \t]*/, "", text)
            if (match(text, /^"[^"]*"/)) judge_ours(substr(text, 2, RLENGTH - 2))
            else if (match(text, /^<[^>]*>/)) judge_outside(substr(text, 2, RLENGTH - 2))
            else complain("an include that no one can read: " text)
        }
        close(file)
    }
    for (f = 1; f <= files_count; f++)
        if (order[f] in edges && !(order[f] in state)) visit(order[f], " " order[f])
    if (files_count == 0) {
        print "floors: no source found"
        bad = 1
    }
    if (!bad) print "floors: " files_count " files keep to their floors and doors, no circles"
    exit bad
}' </dev/null
