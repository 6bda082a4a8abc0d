#!/usr/bin/env bash
# A plain nginx to compare the edge's TLS with: the stack's certificate and key, tickets on, two workers, the same page.
# It listens on a free port of 127.0.0.1; what is printed is what `perf handshakes` wants to know.
# Usage: perf/nginx-tls.sh start DIR [STATE_DIR]   (default var; start the stack first: cargo xtask up --detach)
#        perf/nginx-tls.sh stop DIR
set -euo pipefail

usage() { grep '^# Usage' -A 1 "$0" | cut -c 3- >&2; exit 2; }
[ $# -ge 2 ] || usage
mkdir -p "$2"
dir=$(cd "$2" && pwd)

is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start() {
    local state port web user=
    [ -d "$1/certs" ] || { echo "no stack runs in $1: start one with cargo xtask up --detach" >&2; exit 1; }
    [ ! -f "$dir/nginx.pid" ] || { echo "nginx runs already: perf/nginx-tls.sh stop $dir" >&2; exit 1; }
    state=$(cd "$1" && pwd)
    web=$(cd "$(dirname "${BASH_SOURCE[0]}")/../web" && pwd)
    # The key is its owner's only.
    [ "$(id -u)" -ne 0 ] || user='user root;'
    for port in $(shuf -i 20000-29999 -n 50); do is_free "$port" && break; done
    cat >"$dir/nginx.conf" <<CONF
worker_processes 2;
$user
pid $dir/nginx.pid;
error_log $dir/error.log;
events { worker_connections 8192; }
http {
    access_log off;
    types { text/html html; text/css css; text/javascript js; }
    server {
        listen 127.0.0.1:$port ssl http2 backlog=4096;
        ssl_certificate $state/certs/localhost.pem;
        ssl_certificate_key $state/certs/localhost-key.pem;
        ssl_protocols TLSv1.2 TLSv1.3;
        ssl_session_tickets on;
        root $web;
    }
}
CONF
    nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf"
    for _ in $(seq 100); do [ -s "$dir/nginx.pid" ] && break; sleep 0.05; done
    echo "--target nginx=localhost:$port --pid nginx=$(cat "$dir/nginx.pid")"
}

stop() {
    local pid
    [ -s "$dir/nginx.pid" ] || { echo "no nginx of ours runs in $dir" >&2; exit 1; }
    pid=$(cat "$dir/nginx.pid")
    nginx -e "$dir/error.log" -p "$dir" -c "$dir/nginx.conf" -s quit
    for _ in $(seq 200); do [ -d "/proc/$pid" ] || exit 0; sleep 0.05; done
    echo "nginx ($pid) takes its time to stop" >&2
    exit 1
}

case $1 in
start) start "${3:-var}" ;;
stop) stop ;;
*) usage ;;
esac
