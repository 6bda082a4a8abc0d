#!/usr/bin/env bash
# What the full policy costs: the edge's CPU a request with an allowlist, two limits and a token, against none. Two edges
# of the same build in front of the same nginx, measured in turns; HTTP/1.1 over TLS, kept alive.
#
#   perf/policy-cost.sh [STATE_DIR] [ROUNDS] [SECONDS]
#
# STATE_DIR is a running stack's (`cargo xtask up --detach`): it lends its certificate, keys and a token. Needs wrk and
# nginx; EDGE names another build of the edge than target/release/edge.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
state=${1:-var} rounds=${2:-6} seconds=${3:-5}
edge=${EDGE:-target/release/edge}
for program in wrk nginx curl; do
    command -v "$program" > /dev/null || { echo "missing: $program (on Debian: apt-get install $program)" >&2; exit 1; }
done
work=$(mktemp -d)
pids=()
# Only what was started here is ended.
trap 'for pid in "${pids[@]}"; do kill "$pid" 2> /dev/null || true; done; wait 2> /dev/null; rm -rf "$work"' EXIT

field() { grep -o "\"$1\": *\"[^\"]*\"" | head -n 1 | cut -d '"' -f 4; }
https=$(field https < "$state/stack.json") ca=$(field ca < "$state/stack.json")
provider=$(field identity_provider < "$state/stack.json")
call() { curl -sS --cacert "$ca" -H 'content-type: application/json' "$@"; }
id_token=$(call "$provider/google/mint" -d '{"sub":"perf","name":"Perf","nonce":"n"}' | field id_token)
token=$(call "$https/api/auth/login" -d "{\"provider\":\"google\",\"id_token\":\"$id_token\",\"nonce\":\"n\"}" | field access_token)
[ -n "$token" ] || { echo "the stack gives no token" >&2; exit 1; }

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
upstream=$(free_port)
cat > "$work/nginx.conf" <<EOF
worker_processes 1; daemon off; pid $work/nginx.pid; error_log $work/nginx.log;
events { worker_connections 1024; }
http {
    access_log off;
    server { listen 127.0.0.1:$upstream; keepalive_requests 1000000000; location / { return 200 "ok"; } }
}
EOF
nginx -c "$work/nginx.conf" & pids+=($!)

# The shipped configuration up to its limits and routes; the stack's own has its places filled in.
section() { awk -v want="$1" '/^\[/ { on = ($0 == want) } on' "$state/config/edge.toml"; }
backend=$(section '[upstreams.backend]')
start_edge() { # name, routes
    local port admin http
    port=$(free_port) admin=$(free_port) http=$(free_port)
    {
        echo 'hosts = ["localhost"]'
        echo 'trusted_proxies = []'
        printf '[listen]\nhttps = "127.0.0.1:%s"\nhttp = "127.0.0.1:%s"\nadmin = "127.0.0.1:%s"\n' "$port" "$http" "$admin"
        section '[tls]' | sed '/^ticket_keys/d'
        section '[[tls.certificates]]'
        section '[connections]'
        section '[shutdown]'
        section '[tokens]' | sed 's/^upstream = .*/upstream = "backend"/'
        echo "$backend"
        # nginx says by the same page that it is ready.
        sed "s/upstreams.backend/upstreams.bench/; s/{ address = \"[^\"]*\", management = \"[^\"]*\" }/{ address = \"127.0.0.1:$upstream\", management = \"127.0.0.1:$upstream\" }/" <<< "$backend" | awk '!/address/ || !seen++'
        printf '[limits.first]\nrequests = 1000000000\nseconds = 3600\n[limits.second]\nrequests = 1000000000\nseconds = 3600\n'
        echo "$2"
    } > "$work/$1.toml"
    "$edge" run "$work/$1.toml" > "$work/$1.log" & pids+=($!)
    printf -v "$1_pid" '%s' $!
    printf -v "$1_port" '%s' "$port"
    for _ in $(seq 100); do
        curl -sS --cacert "$ca" -o /dev/null -w '%{http_code}' -H "authorization: Bearer $token" "https://localhost:$port/x" 2> /dev/null | grep -q 200 && return
        sleep 0.1
    done
    echo "the edge $1 doesn't serve:" >&2; tail -n 5 "$work/$1.log" >&2; exit 1
}
start_edge none $'[[routes]]\nbelow = "/"\nupstream = "bench"\n'
start_edge full $'[[routes]]\nbelow = "/"\nallow = ["127.0.0.0/8", "10.0.0.0/8", "::1/128"]\nlimits = ["first", "second"]\ntoken = "required"\nroles = ["user"]\nupstream = "bench"\n'

ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat"; }
measure() { # name → microseconds of CPU a request, requests a second
    local pid="$1_pid" port="$1_port" before after requests
    before=$(ticks "${!pid}")
    requests=$(wrk -t 1 -c 32 -d "${seconds}s" -H "authorization: Bearer $token" "https://localhost:${!port}/x" | awk '/requests in/ { print $1 } /Non-2xx/ { exit 1 }')
    after=$(ticks "${!pid}")
    awk -v t=$((after - before)) -v n="$requests" -v s="$seconds" -v hz="$(getconf CLK_TCK)" 'BEGIN { printf "%.2f %.0f", t * 1000000 / hz / n, n / s }'
}
for name in none full; do measure $name > /dev/null; done
printf '%-6s %14s %14s %8s %16s\n' round 'none µs' 'full µs' ratio 'none, full r/s'
for round in $(seq "$rounds"); do
    read -r none none_rate <<< "$(measure none)"
    read -r full full_rate <<< "$(measure full)"
    ratio=$(awk -v a="$full" -v b="$none" 'BEGIN { printf "%.3f", a / b }')
    echo "$ratio" >> "$work/ratios"
    printf '%-6s %14s %14s %8s %16s\n' "$round" "$none" "$full" "$ratio" "$none_rate, $full_rate"
done
sort -n "$work/ratios" | awk '{ all[NR] = $1 } END { m = NR % 2 ? all[(NR + 1) / 2] : (all[NR / 2] + all[NR / 2 + 1]) / 2; printf "median ratio %.3f (%.3f to %.3f)\n", m, all[1], all[NR] }'
