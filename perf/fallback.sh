#!/usr/bin/env bash
# What clients notice when nginx takes the edge's place and gives it back, while they ask: GETs of a page and of a backend's
# list, each on a connection of its own, 100 a second by default.
# Usage: perf/fallback.sh [STATE_DIR] [TIMES] [RATE]   (start the stack first: cargo xtask up --detach; BIN_DIR holds the edge)
# The gateways are this script's own, on ports beside the stack's, in front of its backends.
set -euo pipefail

state=$(realpath "${1:-var}") times=${2:-5} rate=${3:-100}
edge=${BIN_DIR:-target/release}/edge
[ -f "$state/stack.json" ] || { echo "no stack runs in $state: start one with cargo xtask up --detach" >&2; exit 1; }
work=$(mktemp -d) https=29443
ca=$(grep -o '"ca": "[^"]*"' "$state/stack.json" | cut -d '"' -f 4)
gateway= asking=
cleanup() {
    for pid in $asking $gateway; do kill "$pid" 2>/dev/null || true; done
    # What is still on its way writes into the folder.
    wait $asking $gateway 2>/dev/null || true
    sleep 0.2
    rm -rf "$work"
}
trap cleanup EXIT

sed -E "s/^https = .*/https = \"127.0.0.1:$https\"/; s/^http = .*/http = \"127.0.0.1:29000\"/; s/^admin = .*/admin = \"127.0.0.1:29100\"/; \
    s/^(requests = ).*/\11000000/; s|^socket = .*|socket = \"$work/upgrade.sock\"|" "$state/config/edge.toml" > "$work/edge.toml"
mkdir -p "$work/nginx"
: > "$work/asked"
"$edge" nginx "$work/edge.toml" --absolute --state "$work/nginx" > "$work/nginx.conf"
user=; [ "$(id -u)" != 0 ] || user=' user root;'

start_edge() { "$edge" run "$work/edge.toml" > "$work/edge.log" 2>&1 & gateway=$!; }
start_nginx() {
    nginx -e "$work/nginx.err" -p "$work/nginx" -c "$work/nginx.conf" -g "daemon off;$user" > "$work/nginx.log" 2>&1 & gateway=$!
}
answers() { curl -s -m 2 --cacert "$ca" -o /dev/null "https://localhost:$https/"; }
until_it_answers() { for _ in $(seq 500); do ! answers || return 0; sleep 0.02; done; echo "no gateway" >&2; exit 1; }
is_listening() { ss -Hltn "sport = :$https" | grep -q .; }

# One request: the moment it was sent, in ms, and its status.
ask() {
    local sent status path=/
    sent=$(date +%s%3N)
    [ $((RANDOM % 2)) = 0 ] || path='/api/vendors?limit=1'
    status=$(curl -s -m 5 --cacert "$ca" -o /dev/null -w '%{http_code}' "https://localhost:$https$path" || true)
    echo "$sent $status" >> "$work/asked"
}
load() { while :; do ask & sleep "$(awk "BEGIN { print 1 / $rate }")"; done; }

# Ends one gateway by a signal, starts the other as soon as the ports are free.
switch() {
    local old=$gateway began
    : > "$work/asked"
    sleep 2
    began=$(date +%s%3N)
    kill "-$2" "$old"
    while is_listening; do sleep 0.005; done
    "start_$3"
    until_it_answers
    sleep 2
    awk -v name="$1" -v began="$began" '
        $2 != 200 { failed++; if (!first) first = $1; last = $1 }
        END { printf "%-12s %6d asked, %3d failed, within %d ms\n", name, NR, failed, failed ? last - first : 0 }' "$work/asked"
    wait "$old" 2>/dev/null || true
}

start_edge
until_it_answers
load 2>/dev/null &
asking=$!
for _ in $(seq "$times"); do
    switch "to nginx" TERM nginx
    switch "to the edge" QUIT edge
done
