//! The whole text, from top to bottom.

use super::cases::{self};
use super::differences::Difference;
use super::guards::{self, ms};
use super::servers::{self, Parts};
use super::writer::{Writer, quoted};
use super::{answers, arrival, media, problems, ways};
use crate::config::Policy;

/// Names by which clients have tried to say who they are, or where they come from. nginx can't take out what begins like
/// this: each is named. Names with an underscore it leaves out itself.
const UNTRUSTED: [&str; 54] = [
    "Forwarded",
    "X-Real-IP",
    "X-Client-IP",
    "True-Client-IP",
    "CF-Connecting-IP",
    "X-Rewrite-URL",
    "Proxy",
    "X-Original-URL",
    "X-Original-URI",
    "X-Original-Host",
    "X-Original-Method",
    "X-Original-For",
    "X-Original-Forwarded-For",
    "X-Original-Proto",
    "X-Original-Remote-Addr",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Protocol",
    "X-Forwarded-Port",
    "X-Forwarded-Server",
    "X-Forwarded-Scheme",
    "X-Forwarded-Ssl",
    "X-Forwarded-Prefix",
    "X-Forwarded-Path",
    "X-Forwarded-Uri",
    "X-Forwarded-Method",
    "X-Forwarded-By",
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Preferred-Username",
    "X-Forwarded-Access-Token",
    "X-Forwarded-Client-Cert",
    "X-Forwarded-Role",
    "X-Forwarded-Roles",
    "X-Forwarded-Client-Ip",
    "X-Forwarded-Url",
    "X-User-Id",
    "X-User-Name",
    "X-User-Email",
    "X-User-Role",
    "X-User-Roles",
    "X-User-Groups",
    "X-User-Info",
    "X-User-Sub",
    "X-User-Scopes",
    "X-User-Permissions",
    "X-Auth-User",
    "X-Auth-User-Id",
    "X-Auth-Email",
    "X-Auth-Role",
    "X-Auth-Roles",
    "X-Auth-Token",
    "X-Auth-Request-User",
];

pub(super) fn config(parts: &Parts<'_>, differences: &[Difference]) -> String {
    let mut w = Writer::default();
    head(&mut w, differences);
    main(&mut w, parts);
    w.block("http", |w| http(w, parts));
    w.finish()
}

fn head(w: &mut Writer, differences: &[Difference]) {
    w.comment("What the edge does, done by stock nginx (1.22 and newer). Written by `edge nginx CONFIG`; don't change it here: change the policy and write it anew.");
    w.line("#");
    w.comment("Start it in the folder that holds config/ and nginx-compat/:");
    w.line("#     mkdir -p var/nginx && nginx -p . -c nginx-compat/nginx.conf");
    w.line("#");
    w.comment("How to read it: every request comes into `location /`. $route is the number of the case that the request is, by host, method and path, in the table below; lists, limits, the token's question and the place that answers (@$way) follow from it, each in a map of its own.");
    w.line("#");
    w.comment("What stock nginx does otherwise; nginx-compat/README.md says why:");
    for difference in differences {
        w.comment_item(&format!("{}: {}", difference.about, difference.consequence));
    }
    w.blank();
}

fn main(w: &mut Writer, parts: &Parts<'_>) {
    let state = parts.places.of(&parts.places.state);
    let policy = parts.policy;
    w.line(format!("pid {};", quoted(&format!("{state}/nginx.pid"))));
    w.comment("Below `crit` nginx writes request lines with their queries, which may hold a ticket.");
    w.line("error_log stderr crit;");
    w.line("worker_processes auto;");
    w.comment("A connection of a client and one to a backend.");
    let connections = policy.connections.max.saturating_mul(2);
    w.line(format!("worker_rlimit_nofile {};", connections.saturating_add(512)));
    w.line(format!("worker_shutdown_timeout {};", ms(policy.grace)));
    w.block("events", |w| w.line(format!("worker_connections {connections};")));
    w.blank();
}

fn http(w: &mut Writer, parts: &Parts<'_>) {
    let (policy, cases) = (parts.policy, parts.cases);
    general(w, parts);
    w.blank();
    w.comment("==== What was asked for, and by whom");
    w.comment("nginx knows no escape for a dollar.");
    w.line("geo $dollar { default \"$\"; }");
    arrival::hosts(w, policy);
    w.blank();
    arrival::client(w, policy);
    w.blank();
    arrival::path(w, policy);
    w.blank();
    w.comment("==== Which case it is: the most specific route, and those that hold with it");
    cases::table(w, policy, cases, "$request_method", "$route");
    let has_cors = answers::has_cors(cases);
    if has_cors {
        w.blank();
        w.comment("The same for the method that a preflight announces.");
        cases::table(w, policy, cases, "$http_access_control_request_method", "$announced_route");
        answers::cors(w, cases);
    }
    w.blank();
    w.comment("==== Guards");
    guards::addresses(w, cases);
    w.blank();
    guards::limits(w, cases, parts.rates);
    w.line("limit_req_status 429;");
    w.line("limit_req_log_level info;");
    connections(w, policy);
    w.blank();
    if servers::has_tokens(cases) {
        guards::token_questions(w, cases);
        w.blank();
    }
    servers::verdicts(w, parts, guards::has_lists(cases));
    w.blank();
    w.comment("==== Where it goes, and what its answer carries");
    parts.ways.map(w, cases, has_cors);
    ways::paths_below(w, &parts.ways.keeps_paths());
    w.blank();
    answers::fields(w, policy, cases);
    problems::details(w, cases);
    w.blank();
    forwarding(w, cases);
    w.blank();
    access_log(w, cases);
    w.blank();
    w.comment("==== Servers");
    servers::upstreams(w, policy, cases);
    w.blank();
    servers::gateway(w, parts);
    w.blank();
    servers::redirect(w, parts);
    w.blank();
    servers::admin(w, policy);
}

fn general(w: &mut Writer, parts: &Parts<'_>) {
    let state = parts.places.of(&parts.places.state);
    let connections = &parts.policy.connections;
    for kind in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"] {
        w.line(format!("{kind}_temp_path {};", quoted(&format!("{state}/{kind}"))));
    }
    media::types(w);
    w.line("server_tokens off;");
    w.line("absolute_redirect off;");
    w.line("sendfile on;");
    w.line("map_hash_bucket_size 256;");
    w.line("map_hash_max_size 8192;");
    w.line("variables_hash_max_size 4096;");
    w.line("server_names_hash_bucket_size 256;");
    w.blank();
    w.comment("A header fits into one buffer; a line of it may take it all.");
    w.line("client_header_buffer_size 1k;");
    w.line(format!("large_client_header_buffers 1 {};", connections.max_header_bytes.max(1024)));
    w.line(format!("client_header_timeout {};", ms(connections.header_timeout)));
    w.line(format!("client_body_timeout {};", ms(connections.body_pace.grace)));
    w.line(format!("send_timeout {};", ms(connections.write_pace.grace)));
    w.line(format!("keepalive_timeout {};", ms(connections.idle_timeout)));
    w.line("keepalive_requests 100000;");
    w.comment("The way that a request takes says how long its body may be.");
    w.line("client_max_body_size 0;");
    w.line(format!("http2_max_concurrent_streams {};", connections.max_streams));
    w.blank();
    w.comment("What is compressed; where, the locations say.");
    w.line(format!("gzip_types {};", media::compressed()));
    w.line("gzip_proxied any;");
    w.line("gzip_vary on;");
}

fn connections(w: &mut Writer, policy: &Policy) {
    w.comment("Requests at once, of one address.");
    let variable = match policy.trusted_proxies.is_empty() {
        true => "$client_network",
        false => {
            w.map("$client_is_proxy", "$connection_of", "\"\"", [("0", "$client_network")]);
            "$connection_of"
        }
    };
    w.line(format!("limit_conn_zone {variable} zone=connections:{};", super::ZONE));
    w.line("limit_conn_status 503;");
    w.line("limit_conn_log_level info;");
}

/// What a service gets of a request.
fn forwarding(w: &mut Writer, cases: &[cases::Case<'_>]) {
    w.comment(
        "Only WebSocket routes are upgraded, and only by a whole request for it (RFC 6455, section 4.1).",
    );
    let websockets = cases.iter().filter(|case| case.route.websocket);
    let entries = websockets.map(|case| {
        (
            format!(
                "~*^{} HTTP/1\\.1 websocket [a-z0-9+/]{{21}}(?-i:[AQgw])== (?:.*,)?[ \\t]*upgrade[ \\t]*(?:,|$)",
                case.name
            ),
            "websocket",
        )
    });
    w.map(
        "\"$route $server_protocol $http_upgrade $http_sec_websocket_key $http_connection\"",
        "$upgrade",
        "\"\"",
        entries,
    );
    w.map("$upgrade", "$to_upgrade", "\"\"", [("websocket", "upgrade")]);
    w.blank();
    w.comment("Bodies go on as they come, both ways.");
    w.line("proxy_http_version 1.1;");
    w.line("proxy_request_buffering off;");
    w.line("proxy_buffering off;");
    w.line("proxy_redirect off;");
    w.comment("No service tells nginx what to send in its place.");
    w.line("proxy_ignore_headers X-Accel-Redirect X-Accel-Limit-Rate X-Accel-Buffering X-Accel-Charset X-Accel-Expires;");
    w.line("proxy_set_header Host $http_host;");
    w.line("proxy_set_header Upgrade $upgrade;");
    w.line("proxy_set_header Connection $to_upgrade;");
    w.line("proxy_set_header X-Forwarded-For $client;");
    w.line("proxy_set_header X-Request-Id $gateway_request_id;");
    w.comment("Of the connection to here (RFC 9110, section 7.6.1).");
    for name in ["Proxy-Authorization", "Proxy-Connection"] {
        w.line(format!("proxy_set_header {name} \"\";"));
    }
    w.comment("Who somebody is, no client says.");
    for name in UNTRUSTED {
        w.line(format!("proxy_set_header {name} \"\";"));
    }
}

fn access_log(w: &mut Writer, cases: &[cases::Case<'_>]) {
    w.comment("One line a request, in the edge's words: never a query, a token or a secret of the path.");
    let secret = cases.iter().map(|case| &case.route.pattern).filter(|pattern| pattern.has_secret());
    let mut entries: Vec<(String, String)> = Vec::new();
    for pattern in secret {
        let Ok(expression) = cases::path_expression(pattern) else { continue };
        // Also what lies below, whatever it is.
        let begin = expression.strip_suffix('$').unwrap_or(&expression);
        let begin = begin.strip_suffix("(?:/|").map_or_else(|| begin.to_owned(), str::to_owned);
        let entry = (format!("~^{begin}(?:/|$)"), quoted(&pattern.to_string()));
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    }
    w.map("$path", "$logged_path", "$path", entries);
    w.map(
        "$route",
        "$logged_route",
        "\"-\"",
        cases.iter().map(|case| (case.name.as_str(), quoted(&case.route.pattern.to_string()))),
    );
    w.comment("Milliseconds; nginx counts in seconds.");
    w.map(
        "$request_time",
        "$duration_ms",
        "0",
        [
            ("~^0\\.00([0-9])$", "$1"),
            ("~^0\\.0([1-9][0-9])$", "$1"),
            ("~^0\\.([1-9][0-9][0-9])$", "$1"),
            ("~^([1-9][0-9]*)\\.([0-9]{3})$", "$1$2"),
        ],
    );
    w.line("log_format edge escape=json");
    for line in [
        r#"'{"timestamp":"$time_iso8601","level":"INFO","target":"access","request_id":"$gateway_request_id",'"#,
        r#"'"client":"$client","method":"$request_method","path":"$logged_path","route":"$logged_route",'"#,
        r#"'"status":$status,"sent_bytes":$body_bytes_sent,"duration_ms":$duration_ms,'"#,
        r#"'"upstream":"$upstream_addr","problem":"$problem"}';"#,
    ] {
        w.line(format!("    {line}"));
    }
    w.line("access_log /dev/stdout edge;");
}
