#!/bin/sh
# Writes the policy as nginx's configuration, with this container's addresses, and serves with it.
set -eu
mkdir -p /tmp/nginx
edge nginx /etc/daemun/config/edge.toml --absolute --state /tmp/nginx > /tmp/nginx/nginx.conf
exec nginx -e stderr -p /tmp/nginx -c /tmp/nginx/nginx.conf -g 'daemon off;'
