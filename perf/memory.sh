#!/usr/bin/env bash
# Memory of a running stack: proportional set size (PSS) of each process, idle and after 10,000 requests.
# Usage: perf/memory.sh [STATE_DIR]   (default var; start the stack first: cargo xtask up --detach)
set -euo pipefail

state=${1:-var}
stack="$state/stack.json"
[ -f "$stack" ] || { echo "no stack runs in $state: start one with cargo xtask up --detach" >&2; exit 1; }

field() { grep -o "\"$1\": \"[^\"]*\"" "$stack" | head -n 1 | cut -d '"' -f 4; }
https=$(field https)
ca=$(field ca)
edge=$(grep -o '"edge": [0-9]*' "$stack" | tr -dc 0-9)
redis=$(grep -o '"redis": [0-9]*' "$stack" | tr -dc 0-9)
mapfile -t backends < <(grep -o '"pid": [0-9]*' "$stack" | tr -dc '0-9\n')

pss() { awk '/^Pss:/ { printf "%.1f", $2 / 1024 }' "/proc/$1/smaps_rollup"; }
row() {
    local sum=0 values=()
    for pid in "$edge" "${backends[@]}" "$redis"; do
        values+=("$(pss "$pid")")
        sum=$(awk -v a="$sum" -v b="${values[-1]}" 'BEGIN { printf "%.1f", a + b }')
    done
    printf '%-24s %8s %10s %10s %8s %8s\n' "$1" "${values[@]}" "$sum"
}

# 100 clients with the budget that the policy gives to each: 100 requests a minute below /api.
client() {
    local urls=()
    for turn in $(seq 50); do
        urls+=("$https/api/vendors?limit=20" "$https/api/vendors/$2")
    done
    curl -s --cacert "$ca" --interface "127.1.0.$1" -w '%{stderr}%{http_code}\n' "${urls[@]}" 2>&1 >/dev/null |
        sort | uniq -c
}

printf '%-24s %8s %10s %10s %8s %8s\n' 'PSS, MiB' edge backend-0 backend-1 redis all
row idle
vendor=$(curl -s --cacert "$ca" "$https/api/vendors?limit=1" | grep -o '"id":"[^"]*"' | head -n 1 | cut -d '"' -f 4)
export -f client
export https ca
seq 100 | xargs -P 8 -I '{}' bash -c "client {} $vendor" | awk '{ count[$2] += $1 } END { for (code in count) print "answers " code ": " count[code] }'
row 'after 10,000 requests'
