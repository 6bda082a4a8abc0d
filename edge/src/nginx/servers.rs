//! Where nginx listens: the gateway over TLS, the redirect from plain HTTP, the admin port.

use std::net::SocketAddr;

use super::cases::Case;
use super::guards::{Rate, limit_lines, ms};
use super::tls::{Shown, tls_lines};
use super::ways::Ways;
use super::writer::{Writer, literal};
use super::{Places, answers, problems};
use crate::config::Policy;

/// A path that no file has and no client can ask for: behind it `try_files` goes to a location whose name is a variable's.
const NOWHERE: &str = "\"/\\\\nowhere\"";

/// Everything that the servers are made of.
pub(super) struct Parts<'a> {
    pub(super) policy: &'a Policy,
    pub(super) cases: &'a [Case<'a>],
    pub(super) rates: &'a [(usize, Rate<'a>)],
    pub(super) ways: &'a Ways<'a>,
    pub(super) shown: &'a Shown<'a>,
    pub(super) places: &'a Places,
}

/// `listen` lines for an address. One for all of IPv6 is, with the edge, one for IPv4 too.
fn listen(w: &mut Writer, address: SocketAddr, options: &str) {
    if address.ip().is_unspecified() && address.is_ipv6() {
        w.line(format!("listen 0.0.0.0:{}{options};", address.port()));
        w.line(format!("listen [::]:{}{options};", address.port()));
    } else {
        w.line(format!("listen {address}{options};"));
    }
}

/// The gateway: a server for each certificate, and one that turns away all other names.
pub(super) fn gateway(w: &mut Writer, parts: &Parts<'_>) {
    let policy = parts.policy;
    for group in &parts.shown.groups {
        w.block("server", |w| {
            let names: Vec<_> = group.hosts.iter().map(|host| policy.hosts[*host].as_str()).collect();
            let default = if group.is_default { " default_server" } else { "" };
            listen(w, policy.listen.https, &format!(" ssl http2{default}"));
            w.line(format!("server_name {};", names.join(" ")));
            tls_lines(w, &policy.tls, group.files, parts.places);
            w.blank();
            gateway_body(w, parts);
        });
        w.blank();
    }
    if !parts.shown.without.is_empty() {
        w.comment(
            "No certificate is for these: they are served to clients that have connected to an address.",
        );
        w.block("server", |w| {
            let names: Vec<_> = parts.shown.without.iter().map(|host| policy.hosts[*host].as_str()).collect();
            listen(w, policy.listen.https, " ssl http2");
            w.line(format!("server_name {};", names.join(" ")));
            w.line("ssl_reject_handshake on;");
            w.blank();
            gateway_body(w, parts);
        });
        w.blank();
    }
    w.comment("Another name: it has no certificate here, and a request for it on a connection that was made to one of ours gets 421.");
    w.block("server", |w| {
        let is_default = !parts.shown.groups.iter().any(|group| group.is_default);
        listen(w, policy.listen.https, if is_default { " ssl http2 default_server" } else { " ssl http2" });
        w.line("server_name ~.;");
        w.line("ssl_reject_handshake on;");
        start_of_body(w, parts);
        w.line("error_page 421 @problem-unknown-host;");
        w.line("location / { return 421; }");
        problems::early_locations(w);
        problems::locations(w, policy, parts.cases);
    });
}

/// What is known of every request from its beginning.
fn start_of_body(w: &mut Writer, parts: &Parts<'_>) {
    w.line("set $problem \"\";");
    w.line("set $answer \"\";");
    answers::lines(w, parts.policy, parts.cases);
    problems::early_lines(w);
}

fn gateway_body(w: &mut Writer, parts: &Parts<'_>) {
    start_of_body(w, parts);
    w.blank();
    w.comment(
        "nginx forwards what was sent, byte for byte, unless the path was spelled anew; this makes it do so.",
    );
    w.line("if ($path_form = respelled) { rewrite ^ $uri break; }");
    w.blank();
    w.comment("Every request comes in here. What the first lines refuse has charged no limit; limits come before the token.");
    w.block("location /", |w| {
        for (name, status) in [
            ("target-too-long", 414),
            ("unknown-host", 421),
            ("not-found", 404),
            ("address-not-allowed", 403),
        ] {
            w.line(format!("if ($refused_as = {name}) {{ return {status}; }}"));
        }
        w.line("if ($refused_as ~ ^bad-) { return 400; }");
        limit_lines(w, parts.rates);
        w.line(format!("limit_conn connections {};", parts.policy.connections.max_per_address));
        if has_tokens(parts.cases) {
            w.comment("Made here: the request below that asks has no query of its own.");
            w.line("set $asked $token_question;");
            w.line("auth_request \"/\\\\token\";");
            w.line("auth_request_set $token_problem $upstream_http_x_gateway_problem;");
            w.line("auth_request_set $token_detail $upstream_http_x_gateway_detail;");
            w.line("auth_request_set $challenge $upstream_http_x_gateway_challenge;");
        }
        w.line(format!("try_files {NOWHERE} @$way;"));
        w.line("error_page 400 @problem-bad-request;");
        w.line("error_page 403 = @refused;");
        w.line("error_page 404 @problem-not-found;");
        w.line("error_page 414 @problem-target-too-long;");
        w.line("error_page 421 @problem-unknown-host;");
        w.line("error_page 429 @problem-rate-limited;");
        w.comment("Without a backend that verifies tokens nobody is let in who needs one.");
        w.line("error_page 500 503 =503 @problem-unavailable;");
    });
    w.blank();
    if has_tokens(parts.cases) {
        token_location(w, parts);
        w.blank();
    }
    parts.ways.locations(w, parts.policy, parts.places);
    if answers::has_cors(parts.cases) {
        w.line("location @preflight { set $answer preflight; types { } default_type \"\"; return 204; }");
    }
    w.comment("A redirect has no body.");
    w.line("location @nothing { types { } default_type \"\"; return 200 \"\"; }");
    w.line(format!("location @refused {{ try_files {NOWHERE} @problem-$denied_as; }}"));
    w.line(format!("location @failed {{ try_files {NOWHERE} @problem-$failed_as; }}"));
    w.blank();
    problems::early_locations(w);
    problems::locations(w, parts.policy, parts.cases);
}

pub(super) fn has_tokens(cases: &[Case<'_>]) -> bool {
    cases.iter().any(|case| case.route.token != crate::config::TokenRule::None)
}

fn token_location(w: &mut Writer, parts: &Parts<'_>) {
    let upstream = &parts.policy.upstreams[parts.policy.tokens.upstream];
    w.comment("A backend verifies the token, at its management address, which only this machine reaches: 204, or 403 with what is to be said. No client can ask for this address: its path has a backslash.");
    w.block("location = \"/\\\\token\"", |w| {
        w.line("internal;");
        w.line("if ($asked = \"\") { return 204; }");
        w.comment("In a variable: beside a path that was spelled anew nginx would add this location's own to one that stands here.");
        w.line("set $token_check /gateway/token;");
        w.line("proxy_pass http://token-check$token_check;");
        w.line("proxy_pass_request_body off;");
        w.line("proxy_set_header Content-Length \"\";");
        w.line("proxy_set_header Connection \"\";");
        w.line("proxy_set_header Host $http_host;");
        w.line("proxy_set_header X-Request-Id $gateway_request_id;");
        w.line("proxy_set_header X-Gateway-Question $asked;");
        w.line(format!("proxy_connect_timeout {};", ms(upstream.connect_timeout)));
        w.line(format!("proxy_read_timeout {};", ms(upstream.answer_timeout)));
        w.line(
            "proxy_next_upstream error timeout invalid_header http_500 http_502 http_503 http_504 http_404;",
        );
    });
}

/// Plain HTTP.
pub(super) fn redirect(w: &mut Writer, parts: &Parts<'_>) {
    let listen_at = parts.policy.listen;
    let port = match listen_at.https.port() {
        443 => String::new(),
        port => format!(":{port}"),
    };
    w.comment("Plain HTTP: the same address over HTTPS.");
    w.block("server", |w| {
        listen(w, listen_at.http, " default_server");
        w.line("server_name _;");
        w.line("set $problem \"\";");
        w.line("set $answer \"\";");
        w.line("add_header x-request-id $gateway_request_id always;");
        problems::early_lines(w);
        w.block("location /", |w| {
            w.line("error_page 308 @nothing;");
            w.line("error_page 400 @problem-bad-request;");
            w.line("error_page 421 @problem-unknown-host;");
            w.line("if ($host_number = none) { return 421; }");
            w.line("if ($path_form ~ ^(?:illegal|too-long)$) { return 400; }");
            w.line(format!("return 308 https://$host{port}$request_uri;"));
        });
        w.line("location @nothing { types { } default_type \"\"; return 200 \"\"; }");
        problems::early_locations(w);
        problems::locations(w, parts.policy, parts.cases);
    });
}

/// The admin port: health alone.
pub(super) fn admin(w: &mut Writer, policy: &Policy) {
    w.comment("Never published.");
    w.block("server", |w| {
        listen(w, policy.listen.admin, " default_server");
        w.line("server_name _;");
        w.line("access_log off;");
        w.line("location = /health { default_type application/json; return 200 '{\"status\":\"UP\"}'; }");
        w.line("location / { default_type application/json; return 404 '{\"error\":\"no such page\"}'; }");
    });
}

/// Groups of servers.
pub(super) fn upstreams(w: &mut Writer, policy: &Policy, cases: &[Case<'_>]) {
    for upstream in &policy.upstreams {
        w.block(&format!("upstream {}", upstream.name), |w| {
            w.line(format!("zone upstream_{} 64k;", upstream.name));
            if upstream.balance == crate::config::Balance::LeastConnections {
                w.line("least_conn;");
            }
            for server in &upstream.servers {
                w.line(format!("server {} max_fails=3 fail_timeout=2s;", server.address));
            }
            w.line("keepalive 64;");
        });
    }
    if has_tokens(cases) {
        w.comment("The same backends' management addresses.");
        w.block("upstream token-check", |w| {
            w.line("zone upstream_token_check 64k;");
            for server in &policy.upstreams[policy.tokens.upstream].servers {
                w.line(format!("server {} max_fails=3 fail_timeout=2s;", server.management));
            }
            w.line("keepalive 64;");
        });
    }
}

/// `$refused_as`, `$denied_as`, `$failed_as`, `$token_question`, `$only_for_pages` and `$folder_page`.
pub(super) fn verdicts(w: &mut Writer, parts: &Parts<'_>, has_lists: bool) {
    let known = if parts.policy.trusted_proxies.is_empty() { "yes" } else { "$client_known" };
    let address = if has_lists { "$address" } else { "may-come" };
    w.comment("Why a request is refused before any limit counts it, in the edge's order.");
    w.map(
        &format!("\"$path_form $host_number $name_agrees {known} $route {address}\""),
        "$refused_as",
        "\"\"",
        [
            ("~^too-long", "target-too-long"),
            ("~^[^ ]+ none ", "unknown-host"),
            ("~^[^ ]+ [^ ]+ no ", "unknown-host"),
            ("~^[^ ]+ [^ ]+ [^ ]+ no ", "bad-client"),
            ("~^(?:illegal|unclear) ", "bad-path"),
            ("~ none [^ ]+$", "not-found"),
            ("~ may-not-come$", "address-not-allowed"),
        ],
    );
    let token_problem = if has_tokens(parts.cases) { "$token_problem" } else { "internal" };
    w.map("$refused_as", "$denied_as", token_problem, [("address-not-allowed", "address-not-allowed")]);
    w.comment("A server that was connected to broke off; else none could be reached.");
    w.map("$upstream_connect_time", "$failed_as", "unavailable", [("~[0-9]$", "bad-gateway")]);
    if has_tokens(parts.cases) {
        let preflight = if answers::has_cors(parts.cases) { "$preflight" } else { "none" };
        let entries = [("~^none (?<route_asks>.+)$", "\"$route_asks$token_in_url\"")];
        w.map(&format!("\"{preflight} $route_question\""), "$token_question", "\"\"", entries);
    }
    w.comment(
        "A browser asks for a page: of a single-page application each address that is no file's is one.",
    );
    w.map("$path", "$is_page_name", "yes", [("~\\.[^/]*$", "no")]);
    let refused = "(?![^,]*;[ \\t]*q=[0.]*[ \\t]*(?:[;,]|$))";
    let accepts = format!("~*^yes (?:.*,)?[ \\t]*{}[ \\t]*(?=[;,]|$){refused}", literal("text/html"));
    w.map("\"$is_page_name $http_accept\"", "$only_for_pages", "\"/\\\\nowhere\"", [(accepts, "\"\"")]);
    w.comment("The page of a folder that was asked for without a slash.");
    w.map("$uri", "$folder_page", "\"$uri/index.html\"", [("~/$", "\"/\\\\nowhere\"")]);
}
