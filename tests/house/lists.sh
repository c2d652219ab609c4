#!/bin/bash
# lists.sh [ROOT]: the Makefile's lists of sources against the folders. The lists come from `make lint`:
# SOURCES, what the rooms' archives are made of and the .proto files, and MAINS, the programs' mains.
#
# - Every .c and .proto outside tests is in a list, once, and every name in a list is a file.
# - Inside a folder the list is in the order of the alphabet.
#
# Prints "file: what is wrong" for each violation; exit 1 if there is one.
set -euo pipefail
cd "${1:-.}"
export LC_ALL=C
mapfile -t sources < <(tr -s ' \n' '\n' <<<"${SOURCES:-}" | sed '/^$/d')
mapfile -t mains < <(tr -s ' \n' '\n' <<<"${MAINS:-}" | sed '/^$/d')
bad=0
each() { # what is wrong; the files come on stdin
    local file
    while read -r file; do
        echo "$file: $1"
        bad=1
    done
}

there=$(find . -path ./tests -prune -o \( -path './common/*' -o -path './ps/*' -o -path './worker/*' -o -path './launch/*' \
    -o -path './proto/*' \) \( -name '*.c' -o -name '*.proto' \) -print | sed 's|^\./||' | sort)
listed=$(printf '%s\n' "${sources[@]}" "${mains[@]}" | sed '/^$/d' | sort)
if [ -z "$there" ]; then
    echo "lists: no source found"
    exit 1
fi
each 'in no list of the Makefile' < <(comm -23 <(echo "$there") <(uniq <<<"$listed"))
each 'listed in the Makefile, but no file of this tree' < <(comm -13 <(echo "$there") <(uniq <<<"$listed"))
each 'listed twice in the Makefile' < <(uniq -d <<<"$listed")

last=''
for file in "${sources[@]}"; do
    if [ "${file%/*}" = "${last%/*}" ] && [[ $(basename "$file" .c) < $(basename "$last" .c) ]]; then
        each 'not in the order of the alphabet in the Makefile' <<<"$file"
    fi
    last=$file
done

[ $bad = 0 ] && echo "lists: $(wc -l <<<"$there") sources, each in its list"
exit $bad
