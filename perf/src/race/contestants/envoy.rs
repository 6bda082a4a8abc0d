//! Envoy: RBAC, a local rate limit by address, and `jwt_authn` with its own memory of verified tokens.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use serde_json::{Value, json};

use crate::race::contestants::{Place, Policy, in_path, is_file};
use crate::race::ground::{ALLOWED, LIMIT_REQUESTS, LIMIT_SECONDS};
use crate::token::ISSUER;

/// Where `perf/race-peers.sh` puts it, below the target folder.
const INSTALLED: &str = "race-peers";
const EXTENSIONS: &str = "type.googleapis.com/envoy.extensions";

/// Of the PATH, or out of the Python package that carries it.
pub(super) fn find() -> Option<PathBuf> {
    let targets = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).into_iter().chain(["target".into()]);
    in_path("envoy").or_else(|| targets.map(|target| target.join(INSTALLED)).find_map(|home| packaged(&home)))
}

fn packaged(home: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(home.join("lib")).ok()?.filter_map(Result::ok);
    versions.map(|python| python.path().join("site-packages/envoy/_bin/envoy")).find_map(is_file)
}

pub(super) fn prepare(place: &Place<'_>, command: &mut Command) -> anyhow::Result<()> {
    let file = place.write("json", &serde_json::to_string_pretty(&configuration(place))?)?;
    command.arg("--config-path").arg(file);
    command.args(["--disable-hot-restart", "--log-level", "error", "--file-flush-interval-msec", "1000"]);
    command.arg("--concurrency").arg(place.ground.workers.to_string());
    Ok(())
}

fn configuration(place: &Place<'_>) -> Value {
    let [port, ..] = place.ports;
    json!({ "static_resources": {
        "listeners": [{
            "name": "https",
            "address": address(port),
            "connection_balance_config": { "exact_balance": {} },
            "filter_chains": [{
                "transport_socket": { "name": "envoy.transport_sockets.tls", "typed_config": tls(place) },
                "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": manager(place),
                }],
            }],
        }],
        "clusters": [cluster(place)],
    } })
}

fn tls(place: &Place<'_>) -> Value {
    json!({
        "@type": format!("{EXTENSIONS}.transport_sockets.tls.v3.DownstreamTlsContext"),
        "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_params": { "tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3" },
            "tls_certificates": [{
                "certificate_chain": { "filename": place.shared("certificate.pem") },
                "private_key": { "filename": place.shared("key.pem") },
            }],
        },
    })
}

fn manager(place: &Place<'_>) -> Value {
    let mut filters = match place.policy {
        Policy::None => Vec::new(),
        Policy::Full => vec![
            filter("rbac", "rbac.v3.RBAC", allowlist()),
            filter("local_ratelimit", "local_ratelimit.v3.LocalRateLimit", limit()),
            filter("jwt_authn", "jwt_authn.v3.JwtAuthentication", tokens(place)),
        ],
    };
    filters.push(filter("router", "router.v3.Router", json!({})));
    json!({
        "@type": format!("{EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "race",
        "use_remote_address": true,
        "generate_request_id": false,
        "access_log": if place.ground.access_log { vec![access_log(place)] } else { Vec::new() },
        "http_filters": filters,
        "route_config": { "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "race" } }],
        }] },
    })
}

fn filter(name: &str, kind: &str, mut config: Value) -> Value {
    config["@type"] = format!("{EXTENSIONS}.filters.http.{kind}").into();
    json!({ "name": format!("envoy.filters.http.{name}"), "typed_config": config })
}

fn allowlist() -> Value {
    let principal = |net: &&str| {
        let (address, length) = net.split_once('/').unwrap_or((net, "32"));
        let length: u32 = length.parse().unwrap_or_default();
        json!({ "direct_remote_ip": { "address_prefix": address, "prefix_len": length } })
    };
    let principals: Vec<Value> = ALLOWED.iter().map(principal).collect();
    json!({ "rules": { "action": "ALLOW", "policies": {
        "allowed": { "permissions": [{ "any": true }], "principals": principals },
    } } })
}

fn limit() -> Value {
    let bucket = json!({
        "max_tokens": LIMIT_REQUESTS,
        "tokens_per_fill": LIMIT_REQUESTS,
        "fill_interval": format!("{LIMIT_SECONDS}s"),
    });
    let always = json!({ "default_value": { "numerator": 100, "denominator": "HUNDRED" } });
    json!({
        "stat_prefix": "race",
        "token_bucket": bucket,
        "filter_enabled": always,
        "filter_enforced": always,
        // Each address has a bucket of its own, made when it comes for the first time.
        "rate_limits": [{ "actions": [{ "remote_address": {} }] }],
        "descriptors": [{ "entries": [{ "key": "remote_address" }], "token_bucket": bucket }],
        "max_dynamic_descriptors": 100_000,
    })
}

fn tokens(place: &Place<'_>) -> Value {
    let mut provider = json!({
        "issuer": ISSUER,
        "audiences": [ISSUER],
        "local_jwks": { "inline_string": place.ground.tokens.jwks() },
        "forward": true,
    });
    if place.ground.remember_tokens {
        provider["jwt_cache_config"] = json!({ "jwt_cache_size": 1_024 });
    }
    json!({
        "providers": { "race": provider },
        "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "race" } }],
    })
}

fn access_log(place: &Place<'_>) -> Value {
    json!({ "name": "envoy.access_loggers.file", "typed_config": {
        "@type": format!("{EXTENSIONS}.access_loggers.file.v3.FileAccessLog"),
        "path": place.access_log.display().to_string(),
        "log_format": { "json_format": {
            "timestamp": "%START_TIME%",
            "client": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
            "method": "%REQ(:METHOD)%",
            "path": "%PATH(NQ)%",
            "status": "%RESPONSE_CODE%",
            "sent_bytes": "%BYTES_SENT%",
            "duration_ms": "%DURATION%",
            "upstream": "%UPSTREAM_HOST%",
        } },
    } })
}

fn cluster(place: &Place<'_>) -> Value {
    let server = |port: u16| json!({ "endpoint": { "address": address(port) } });
    json!({
        "name": "race",
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "ROUND_ROBIN",
        "circuit_breakers": { "thresholds": [{
            "max_connections": 100_000,
            "max_pending_requests": 100_000,
            "max_requests": 100_000,
        }] },
        "load_assignment": {
            "cluster_name": "race",
            "endpoints": [{ "lb_endpoints": place.ground.upstreams.ports.map(server) }],
        },
    })
}

fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}
