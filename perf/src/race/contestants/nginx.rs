//! nginx: allow and deny, `limit_req`, and the token by a subrequest, as it has no check of its own.

use std::process::Command;

use crate::race::contestants::{KEPT_CONNECTIONS, Place, Policy};
use crate::race::ground::ALLOWED;
use crate::race::upstreams::TOKEN_CHECK;

pub(super) fn prepare(place: &Place<'_>, command: &mut Command) -> anyhow::Result<()> {
    let file = place.write("conf", &configuration(place))?;
    let errors = place.shared(&format!("{}.err", place.name));
    command.arg("-e").arg(errors).arg("-p").arg(place.shared("")).arg("-c").arg(file);
    Ok(())
}

fn configuration(place: &Place<'_>) -> String {
    let [first, second] = place.ground.upstreams.ports;
    let [port, ..] = place.ports;
    // The key is its owner's only.
    let user = if rustix::process::geteuid().is_root() { "user root;" } else { "" };
    let access_log = if place.ground.access_log {
        // Buffered is its best.
        format!("access_log {} race buffer=64k flush=1s;", place.access_log.display())
    } else {
        "access_log off;".to_owned()
    };
    let (zone, check, location) = match place.policy {
        Policy::None => ("", String::new(), String::new()),
        Policy::Full => (
            "limit_req_zone $binary_remote_addr zone=race:10m rate=1000000r/s; limit_req_status 429;",
            token_check(),
            full(),
        ),
    };
    format!(
        r#"worker_processes {workers};
worker_rlimit_nofile 20000;
daemon off;
{user}
pid {pid};
error_log {errors};
events {{ worker_connections 8192; }}
http {{
    log_format race escape=json '{{"timestamp":"$time_iso8601","client":"$remote_addr","method":"$request_method",'
        '"path":"$uri","status":$status,"sent_bytes":$body_bytes_sent,"duration":"$request_time",'
        '"upstream":"$upstream_addr"}}';
    {access_log}
    {zone}
    upstream race {{
        server 127.0.0.1:{first};
        server 127.0.0.1:{second};
        keepalive {KEPT_CONNECTIONS};
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port} ssl http2 backlog=4096;
        server_name localhost;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        ssl_protocols TLSv1.3;
        keepalive_requests 1000000000;
        proxy_http_version 1.1;
        proxy_set_header Connection "";
        proxy_set_header Host $host;
        proxy_set_header X-Forwarded-For $remote_addr;
{check}        location / {{
{location}            proxy_pass http://race;
        }}
    }}
}}
"#,
        workers = place.ground.workers,
        pid = place.shared(&format!("{}.pid", place.name)),
        errors = place.shared(&format!("{}.err", place.name)),
        certificate = place.shared("certificate.pem"),
        key = place.shared("key.pem"),
    )
}

fn token_check() -> String {
    format!(
        "        location = {TOKEN_CHECK} {{
            internal;
            proxy_pass http://race;
            proxy_pass_request_body off;
            proxy_set_header Content-Length \"\";
            access_log off;
        }}
"
    )
}

fn full() -> String {
    let allow: String = ALLOWED.iter().map(|net| format!("            allow {net};\n")).collect();
    format!(
        "{allow}            deny all;
            limit_req zone=race burst=100000 nodelay;
            auth_request {TOKEN_CHECK};
"
    )
}
