#!/usr/bin/env bash
# How long a stack doesn't serve after a process is killed: from `kill -9` until four sign-ins in a row work and the
# process is there again, in milliseconds.
# Usage: perf/restarts.sh [STATE_DIR]   (default var; start the stack first: cargo xtask up --detach)
set -euo pipefail

state=${1:-var}
stack="$state/stack.json"
[ -f "$stack" ] || { echo "no stack runs in $state: start one with cargo xtask up --detach" >&2; exit 1; }

field() { grep -o "\"$1\": \"[^\"]*\"" "$stack" | head -n 1 | cut -d '"' -f 4; }
pid_of() {
    local line
    case $1 in
    backend-0) line=$(grep -o '"pid": [0-9]*' "$stack" | sed -n 1p) ;;
    backend-1) line=$(grep -o '"pid": [0-9]*' "$stack" | sed -n 2p) ;;
    *) line=$(grep -o "\"$1\": [0-9]*" "$stack") ;;
    esac
    echo "${line##* }"
}
https=$(field https)
ca=$(field ca)
provider=$(field identity_provider)

# A sign-in from an address of its own, as the limits are not what is tried. Says the status.
sign_in() {
    local json='content-type: application/json' turn=$RANDOM token
    token=$(curl -s -m 2 "$provider/google/mint" -H "$json" -d "{\"sub\":\"restart-$turn\",\"name\":\"r\",\"nonce\":\"n\"}" |
        cut -d '"' -f 4) || true
    curl -s -m 2 --cacert "$ca" --interface "127.3.$((turn % 250)).$((turn / 250 + 1))" -o /dev/null -w '%{http_code}' \
        "$https/api/auth/login" -H "$json" -d "{\"provider\":\"google\",\"id_token\":\"$token\",\"nonce\":\"n\"}" || true
}

for process in backend-0 backend-1 edge redis; do
    killed=$(pid_of "$process")
    start=$(date +%s%N)
    kill -9 "$killed"
    in_a_row=0
    while [ "$in_a_row" -lt 4 ]; do
        if [ "$(sign_in)" = 200 ]; then in_a_row=$((in_a_row + 1)); else in_a_row=0; fi
    done
    while [ "$(pid_of "$process")" = "$killed" ]; do sleep 0.02; done
    echo "$process: $((($(date +%s%N) - start) / 1000000)) ms"
done
