//! haproxy: an acl, a stick table, and `jwt_verify`, which verifies anew each time and, in 2.6, knows no EdDSA.

use std::process::Command;

use crate::race::contestants::{KEPT_CONNECTIONS, Place, Policy};
use crate::race::ground::{ALLOWED, LIMIT_REQUESTS};
use crate::token::ISSUER;

pub(super) fn prepare(place: &Place<'_>, command: &mut Command) -> anyhow::Result<()> {
    let allowed = place.write("allowed", &ALLOWED.join("\n"))?;
    let file = place.write("cfg", &configuration(place, &allowed.display().to_string()))?;
    // In the foreground, as one process.
    command.arg("-db").arg("-f").arg(file);
    Ok(())
}

fn configuration(place: &Place<'_>, allowed: &str) -> String {
    let [first, second] = place.ground.upstreams.ports;
    let [port, ..] = place.ports;
    // Its standard output is the file.
    let (sink, log) = if place.ground.access_log {
        ("log stdout format raw local0 info", "log global")
    } else {
        ("", "no log")
    };
    let full = match place.policy {
        Policy::None => String::new(),
        Policy::Full => full(allowed, &place.shared("es256.pem")),
    };
    format!(
        r#"global
    nbthread {workers}
    maxconn 8192
    {sink}
    ssl-default-bind-options ssl-min-ver TLSv1.3
defaults
    mode http
    timeout connect 1s
    timeout client 60s
    timeout server 30s
    option http-keep-alive
    http-reuse always
    {log}
    log-format '{{"timestamp":"%Tl","client":"%ci","method":"%HM","path":"%HP","status":%ST,"sent_bytes":%B,"duration_ms":%Ta,"upstream":"%si:%sp"}}'
frontend race
    bind 127.0.0.1:{port} ssl crt {both} alpn h2,http/1.1 backlog 4096
{full}    option forwardfor
    default_backend race
backend race
    balance roundrobin
    server first 127.0.0.1:{first} pool-max-conn {KEPT_CONNECTIONS} pool-purge-delay 60s
    server second 127.0.0.1:{second} pool-max-conn {KEPT_CONNECTIONS} pool-purge-delay 60s
"#,
        workers = place.ground.workers,
        both = place.shared("both.pem"),
    )
}

fn full(allowed: &str, key: &str) -> String {
    format!(
        "    acl allowed src -f {allowed}
    http-request deny deny_status 403 unless allowed
    stick-table type ip size 256k expire 60s store http_req_rate(1s)
    http-request track-sc0 src
    http-request deny deny_status 429 if {{ sc_http_req_rate(0) gt {LIMIT_REQUESTS} }}
    http-request set-var(txn.token) http_auth_bearer
    http-request set-var(txn.alg) var(txn.token),jwt_header_query('$.alg')
    http-request set-var(txn.iss) var(txn.token),jwt_payload_query('$.iss')
    http-request set-var(txn.aud) var(txn.token),jwt_payload_query('$.aud')
    http-request set-var(txn.exp) var(txn.token),jwt_payload_query('$.exp','int')
    http-request set-var(txn.now) date()
    http-request deny deny_status 401 unless {{ var(txn.alg) -m str ES256 }}
    http-request deny deny_status 401 unless {{ var(txn.iss) -m str {ISSUER} }}
    http-request deny deny_status 401 unless {{ var(txn.aud) -m str {ISSUER} }}
    http-request deny deny_status 401 unless {{ var(txn.exp),sub(txn.now) -m int gt 0 }}
    http-request deny deny_status 401 unless {{ var(txn.token),jwt_verify(txn.alg,\"{key}\") -m int 1 }}
"
    )
}
