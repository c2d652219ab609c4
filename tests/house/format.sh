#!/bin/bash
# format.sh [ROOT]: every C file is as clang-format (.clang-format) would write it; `make fmt` makes it so.
# Skipped, with a line, where there is no clang-format.
set -euo pipefail
cd "${1:-.}"
format=${CLANG_FORMAT:-clang-format}
if ! command -v "$format" >/dev/null 2>&1; then
    echo "format: skipped, no $format here (launch/setup.sh --dev installs it)"
    exit 0
fi
mapfile -t files < <(find {common,ps,worker,launch,tests}/ -name '*.[ch]' 2>/dev/null | sort)
[ ${#files[@]} -gt 0 ] || { echo "format: no source found"; exit 1; }
out=$(printf '%s\0' "${files[@]}" | xargs -0 -n 16 -P "$(nproc)" "$format" --dry-run -Werror 2>&1) && {
    echo "format: ${#files[@]} files"
    exit 0
}
# One line a file: the first place; the rest is for make fmt.
sed -nE 's/^([^: ]+):([0-9]+):[0-9]+: error: .*/\1:\2/p' <<<"$out" | sort -t: -k1,1 -k2,2n | sort -t: -u -k1,1 |
    sed 's/$/: not formatted from here on (make fmt)/'
exit 1
