#!/bin/bash
# run_tests.sh: runs test programs, each with a deadline, and counts.
#
#     run_tests.sh [--jobs N] [--deadline S] [--grace S] KIND:PROGRAM...
#
# KIND says how a program is run and how its tests are counted:
#
#   unit, sim   a cmocka program; its TAP is read, so each of its tests counts. A program that dies, leaves
#               early or runs no test at all has failed, whatever its TAP said until then.
#   fuzz        a fuzzer with the plain main, over tests/fuzz/corpus/<its name>; counts as one.
#   cluster     a script that starts real processes: one at a time, 600 s instead of 120 s.
#   script      any other script.
#
# A script counts as one test: exit 0 passed, 77 skipped, else failed; or as many as its last line says, if that is
# "N passed, N failed, N skipped". Scripts find $BUILD and $BIN (the programs), every test $TEST_TMP, a
# folder of its own that is removed afterwards.
#
# Each program runs in a session of its own. At its deadline the whole session gets TERM, then KILL. When it ends,
# whatever of its session still lives (after a grace of 5 s, for children that die with their parent) is a failure,
# and is killed: a test leaves no process behind.
#
# Output: a line a program as it ends, the log of a failed one below it, and as the very last line exactly
# "N passed, N failed, N skipped". Exit 0 only if none failed and something ran.
set -uo pipefail

jobs=$(nproc)
deadline=
grace=5
while [ $# -gt 0 ]; do
    case $1 in
    --jobs) jobs=$2; shift 2 ;;
    --deadline) deadline=$2; shift 2 ;;
    --grace) grace=$2; shift 2 ;;
    -*) echo "run_tests.sh: unknown option $1" >&2; exit 2 ;;
    *) break ;;
    esac
done

export BUILD=${BUILD:-$PWD/build}
export BIN=$BUILD/bin
# Two threads of BLAS in each of two tests on two cores are four too many, and results then depend on the machine.
export OPENBLAS_NUM_THREADS=${OPENBLAS_NUM_THREADS:-1}
# mpirun refuses root otherwise, and more ranks than cores; containers often run as root.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
[ -f tests/support/tsan.supp ] && export TSAN_OPTIONS=${TSAN_OPTIONS:-suppressions=$PWD/tests/support/tsan.supp}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/penstock-test.XXXXXX")
mkfifo "$scratch/never"
passed=0 failed=0 skipped=0

# Live processes of a session; zombies wait for a reaper and are not ours to judge.
living() {
    ps -o pid=,stat= -s "$1" 2>/dev/null | awk '$2 !~ /^Z/ { print $1 }'
}

kill_session() { # session, signal
    local pids
    pids=$(living "$1")
    [ -z "$pids" ] || kill -"$2" $pids 2>/dev/null
    return 0
}

wait_gone() { # session; true if it is gone within the grace
    local i
    for ((i = 0; i <= grace * 10; i++)); do
        [ -z "$(living "$1")" ] && return 0
        sleep 0.1
    done
    return 1
}

kill_everything() {
    local f
    for f in "$scratch"/*.session; do
        [ -f "$f" ] && kill_session "$(cat "$f")" KILL
    done
    rm -rf "$scratch"
}
trap 'trap "" EXIT; kill_everything; exit 130' INT TERM HUP
trap kill_everything EXIT

# Reads TAP on stdin, prints "passed failed skipped".
count_tap() {
    awk '
        /^1\.\.[0-9]+/           { sub(/^1\.\./, ""); planned += $1 }
        /^ok [0-9]/              { ok++ }
        /^not ok [0-9]+ # SKIP/  { skip++; next }
        /^not ok [0-9]/          { bad++ }
        END { missing = planned - ok - bad - skip
              if (missing > 0) bad += missing
              print ok + 0, bad + 0, skip + 0 }'
}

# Runs one program to its end: $scratch/<n>.log has its output, <n>.result "passed failed skipped seconds note".
run_one() { # number, kind, program
    local n=$1 kind=$2 program=$3 limit rc=0 note='' start end counts session watchdog left
    local log=$scratch/$n.log
    limit=$deadline
    if [ -z "$limit" ]; then
        limit=120
        [ "$kind" = cluster ] && limit=600
    fi
    local -a command=("$program")
    case $program in /*) ;; *) command=("./$program") ;; esac
    case $kind in
    cluster | script) command=(bash "$program") ;;
    fuzz) command+=("tests/fuzz/corpus/$(basename "$program")") ;;
    esac
    # Words after the program are its arguments (the runner's own test uses that).
    read -r -a words <<<"$program"
    if [ ${#words[@]} -gt 1 ]; then command=("${words[@]}"); fi

    export TEST_TMP=$scratch/$n.tmp
    mkdir -p "$TEST_TMP"
    start=${EPOCHREALTIME/./}
    # A background job of a script is not a group leader, so setsid does not fork: $! is the session.
    CMOCKA_MESSAGE_OUTPUT=TAP setsid "${command[@]}" >"$log" 2>&1 </dev/null &
    session=$!
    echo "$session" >"$scratch/$n.session"
    (
        exec >/dev/null 2>&1 </dev/null
        # Not sleep: a child would outlive a watchdog that is called off.
        read -r -t "$limit" <>"$scratch/never"
        touch "$scratch/$n.late"
        kill_session "$session" TERM
        wait_gone "$session"
        kill_session "$session" KILL
    ) &
    watchdog=$!
    wait "$session" 2>/dev/null || rc=$?
    if [ -f "$scratch/$n.late" ]; then
        wait "$watchdog" 2>/dev/null
        note="no end within $limit s"
    else
        kill "$watchdog" 2>/dev/null
        wait "$watchdog" 2>/dev/null
        if ! wait_gone "$session"; then
            left=$(living "$session")
            note="left running: $(ps -o args= -p $left 2>/dev/null | cut -c 1-60 | tr '\n' ';')"
            kill_session "$session" KILL
        fi
    fi
    end=${EPOCHREALTIME/./}
    rm -rf "$scratch/$n.session" "$TEST_TMP"

    case $kind in
    unit | sim) counts=$(count_tap <"$log") ;;
    *)
        counts=$(tail -n 1 "$log" | sed -nE 's/^([0-9]+) passed, ([0-9]+) failed, ([0-9]+) skipped$/\1 \2 \3/p')
        if [ -z "$counts" ]; then
            case $rc in
            0) counts='1 0 0' ;;
            77) counts='0 0 1' rc=0 ;;
            *) counts='0 1 0' ;;
            esac
        fi
        ;;
    esac
    set -- $counts
    # A bad end that the tests themselves did not report is one more failure.
    if [ "$2" = 0 ]; then
        if [ $rc -gt 128 ] && [ -z "$note" ]; then
            note="killed by signal $((rc - 128))"
        elif [ $rc -ne 0 ] && [ -z "$note" ]; then
            note="exit $rc"
        elif [ $(($1 + $3)) = 0 ] && [ -z "$note" ]; then
            note="ran no test"
        fi
        [ -z "$note" ] || set -- "$1" 1 "$3"
    elif [ $rc -gt 128 ] && [ -z "$note" ]; then
        note="killed by signal $((rc - 128))"
    fi
    echo "$1 $2 $3 $(((end - start) / 10000)) $note" >"$scratch/$n.part"
    mv "$scratch/$n.part" "$scratch/$n.result"
}

report() { # number, kind, program
    local p f s hundredths note word=ok
    read -r p f s hundredths note <"$scratch/$1.result" || { p=0 f=1 s=0 hundredths=0 note='the runner lost it'; }
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ $((p + f)) = 0 ] && word=skip
    [ "$f" = 0 ] || word=FAIL
    printf '%-4s %-8s %-40s %4d passed' $word "$2" "$(basename "${3%% *}")${3#"${3%% *}"}" "$p"
    [ "$f" = 0 ] || printf ', %d failed' "$f"
    [ "$s" = 0 ] || printf ', %d skipped' "$s"
    printf '  %d.%02d s' $((hundredths / 100)) $((hundredths % 100))
    [ -z "$note" ] || printf '  (%s)' "$note"
    printf '\n'
    if [ $word = FAIL ]; then
        tail -n 200 "$scratch/$1.log" | sed 's/^/    | /'
    elif [ "$s" != 0 ]; then
        # Why, if the test said so: a script in its last line, a cmocka test by its name.
        if [ "$2" = unit ] || [ "$2" = sim ]; then
            sed -n 's/^not ok [0-9]* # SKIP/    | skipped:/p' "$scratch/$1.log"
        elif [ "$p" = 0 ]; then
            tail -n 1 "$scratch/$1.log" | sed 's/^/    | /'
        fi
    fi
    rm -f "$scratch/$1.result"
}

declare -A running=()
reap() { # reports all that have ended; waits for one if told to
    local n
    [ "${1:-}" = wait ] && { wait -n 2>/dev/null; true; }
    for n in "${!running[@]}"; do
        if [ -f "$scratch/$n.result" ]; then
            wait "${running[$n]}" 2>/dev/null
        elif kill -0 "${running[$n]}" 2>/dev/null; then
            continue
        fi
        unset "running[$n]"
        report "$n" "${kind_of[$n]}" "${program_of[$n]}"
    done
}

kind_of=() program_of=()
number=0
for item in "$@"; do
    kind=${item%%:*} program=${item#*:}
    kind_of[number]=$kind program_of[number]=$program
    width=$jobs
    [ "$kind" = cluster ] && width=1
    while [ ${#running[@]} -ge "$width" ]; do reap wait; done
    run_one $number "$kind" "$program" &
    running[$number]=$!
    number=$((number + 1))
done
while [ ${#running[@]} -gt 0 ]; do reap wait; done

if [ $((passed + failed + skipped)) = 0 ]; then
    echo "no test to run"
    failed=1
fi
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
