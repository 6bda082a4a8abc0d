//! What answers carry: the policy's fields, HSTS, what pages of other sites may see, request ids, caching.

use http::{HeaderName, HeaderValue};

use super::cases::Case;
use super::writer::{Writer, literal, quoted, verbatim};
use crate::config::{Cors, Fields, Policy};

/// A field that nginx's own answers have a value for, unless the policy names another.
const CACHE_CONTROL: &str = "cache-control";

/// Every field that the policy names somewhere.
fn names(policy: &Policy) -> Vec<&HeaderName> {
    let mut names: Vec<&HeaderName> = Vec::new();
    let lists = policy.routes.iter().map(|route| &route.headers).chain([&policy.headers]);
    for (name, _) in lists.flatten() {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// What a field is set to along the path; `None`: it is left to the service.
fn value<'a>(
    policy: &'a Policy,
    along: &[&'a crate::config::Route],
    name: &HeaderName,
) -> Option<&'a HeaderValue> {
    let lists = along.iter().map(|route| &route.headers).chain([&policy.headers]);
    let find = |list: &'a Fields| list.iter().find(|(known, _)| known == name);
    lists.filter_map(find).next().and_then(|(_, value)| value.as_ref())
}

/// The fields that are set on answers of a case, so that the service's own give way.
pub(super) fn set_fields(policy: &Policy, case: &Case<'_>) -> Vec<String> {
    let names = names(policy).into_iter().filter(|name| value(policy, &case.along, name).is_some());
    names.map(|name| name.as_str().to_owned()).collect()
}

/// The variables behind [`lines`].
pub(super) fn fields(w: &mut Writer, policy: &Policy, cases: &[Case<'_>]) {
    w.comment("A request's id, for answers, services and logs: nginx's own random one, written as a UUID (version 4).");
    let uuid = [("~^(.{8})(.{4}).(.{3}).(.{3})(.{12})$", "$1-$2-4$3-a$4-$5")];
    w.map("$request_id", "$gateway_request_id", "$request_id", uuid);
    w.blank();
    caching(w);
    for name in names(policy) {
        let shown = |value: Option<&HeaderValue>| match value {
            Some(value) => verbatim(value.to_str().unwrap_or_default()),
            None if name == CACHE_CONTROL => "$own_cache_control".to_owned(),
            None => "\"\"".to_owned(),
        };
        let general = value(policy, &[], name);
        let differs = |case: &&Case<'_>| value(policy, &case.along, name) != general;
        let entries = cases.iter().filter(differs);
        let entries: Vec<_> =
            entries.map(|case| (case.name.as_str(), shown(value(policy, &case.along, name)))).collect();
        w.map("$route", &variable(name.as_str()), &shown(general), entries);
    }
    if let Some(hsts) = &policy.hsts {
        w.blank();
        w.comment(
            "Who came by HTTPS once comes by HTTPS only (RFC 6797); never for localhost or an address.",
        );
        let value = verbatim(hsts.value.to_str().unwrap_or_default());
        w.map("$host_number", "$hsts", "\"\"", hsts.hosts.iter().map(|host| (host.to_string(), &value)));
    }
}

fn caching(w: &mut Writer) {
    w.comment("For how long what nginx answers itself may be kept: a file whose name has a hash for ever, other files are asked for again each time, a problem is never kept.");
    let word = "(?=[^./-]*[0-9])(?=[^./-]*[A-Za-z])(?:[0-9A-Fa-f]{8,}|[a-z2-7]{8,}|[A-Z2-7]{8,})";
    let entries = [
        ("~^[^|]".to_owned(), "no-store"),
        (format!("~^\\|file\\|.*[.-]{word}\\.[^./]*$"), "\"public, max-age=31536000, immutable\""),
        ("~^\\|(?:file|folder)\\|".to_owned(), "no-cache"),
    ];
    w.map("\"$problem|$answer|$uri\"", "$own_cache_control", "\"\"", entries);
    w.map("$problem", "$retry_after", "\"\"", [("rate-limited", "$limit_wait"), ("unavailable", "1")]);
    w.map("\"$problem $way\"", "$allowed_methods", "\"\"", [("~^method-not-allowed files", "\"GET, HEAD\"")]);
    w.blank();
}

fn variable(name: &str) -> String {
    let plain = name.replace(|character: char| !character.is_ascii_alphanumeric(), "_");
    format!("$field_{plain}")
}

/// The fields that every answer has; those whose variable is empty are left out.
pub(super) fn lines(w: &mut Writer, policy: &Policy, cases: &[Case<'_>]) {
    let mut add = |name: &str, variable: &str| w.line(format!("add_header {name} {variable} always;"));
    for name in names(policy) {
        add(name.as_str(), &variable(name.as_str()));
    }
    if names(policy).iter().all(|name| *name != CACHE_CONTROL) {
        add(CACHE_CONTROL, "$own_cache_control");
    }
    if policy.hsts.is_some() {
        add("strict-transport-security", "$hsts");
    }
    if has_cors(cases) {
        for name in ["allow-origin", "allow-credentials", "allow-methods", "allow-headers", "max-age"] {
            add(&format!("access-control-{name}"), &format!("$cors_{}", name.replace('-', "_")));
        }
        add("vary", "$cors_vary");
    }
    add("x-request-id", "$gateway_request_id");
    if super::servers::has_tokens(cases) {
        add("www-authenticate", "$challenge");
    }
    add("retry-after", "$retry_after");
    add("allow", "$allowed_methods");
}

/// Whether pages of other sites may ask anywhere.
pub(super) fn has_cors(cases: &[Case<'_>]) -> bool {
    cases.iter().any(|case| case.cors.is_some())
}

/// What pages of other sites may see, and the answers to their preflights.
pub(super) fn cors(w: &mut Writer, cases: &[Case<'_>]) {
    w.comment("Pages of other sites. A preflight is judged by the routes of the request that it announces; without `cors` there it is an OPTIONS like any other.");
    let with: Vec<(&Case<'_>, &Cors)> = cases.iter().filter_map(|case| Some((case, case.cors?))).collect();
    let announced =
        with.iter().map(|(case, _)| (format!("~^OPTIONS [^ ]+ {}$", case.name), "$announced_route"));
    w.map("\"$request_method $http_origin $announced_route\"", "$preflight_route", "none", announced);
    let origins = with.iter().flat_map(|(case, cors)| {
        let name = &case.name;
        match &cors.origins {
            None => vec![(format!("~^{name} ."), "\"*\"")],
            Some(origins) => {
                let line = |origin: &String| (format!("~*^{name} {}$", literal(origin)), "$http_origin");
                origins.iter().map(line).collect()
            }
        }
    });
    let origins: Vec<_> = origins.collect();
    w.comment("Whose pages may read an answer, and whose may send the announced request.");
    w.map("\"$route $http_origin\"", "$answer_origin", "\"\"", origins.clone());
    w.map("\"$preflight_route $http_origin\"", "$announced_origin", "\"\"", origins);
    w.comment("Why an announced request may not come; `yes`: it may; `none`: nothing was announced.");
    let mut entries = vec![("~^none ".to_owned(), "none"), ("~^[^ ]+ no-origin ".to_owned(), "origin")];
    for (case, cors) in &with {
        let methods: Vec<_> = cors.methods.iter().map(|method| method.as_str()).collect();
        let (name, methods) = (&case.name, methods.join("|"));
        let item = match cors.headers.is_empty() {
            true => "[ \\t]*".to_owned(),
            false => {
                let names: Vec<_> = cors.headers.iter().map(|header| literal(header.as_str())).collect();
                format!("[ \\t]*(?:{})?[ \\t]*", names.join("|"))
            }
        };
        entries.push((format!("~^{name} known (?:{methods}) (?i:{item}(?:,{item})*)$"), "yes"));
        entries.push((format!("~^{name} known (?:{methods}) "), "fields"));
        entries.push((format!("~^{name} known "), "method"));
    }
    w.map("$announced_origin", "$announced_by", "known", [("", "no-origin")]);
    w.map(
        "\"$preflight_route $announced_by $http_access_control_request_method $http_access_control_request_headers\"",
        "$preflight",
        "none",
        entries,
    );
    cors_fields(w, &with);
}

fn cors_fields(w: &mut Writer, with: &[(&Case<'_>, &Cors)]) {
    w.map(
        "$preflight",
        "$cross_origin_detail",
        "\"\"",
        [
            ("origin", "\"Pages of this origin may not ask here.\""),
            ("method", "\"Pages of other sites may not ask with this method.\""),
            ("fields", "\"Pages of other sites may not send these fields.\""),
        ],
    );
    w.comment("Whether the answer is a preflight's own; another guard may have refused it before.");
    let told = [("~^preflight ", "yes"), ("~ cross-origin-refused$", "$preflight")];
    w.map("\"$answer $problem\"", "$preflight_told", "none", told);
    w.comment("A preflight's answer has its own fields; a refused one has those of any answer.");
    let own = |name: &str, value: &dyn Fn(&Cors) -> Option<String>| {
        let entries = with
            .iter()
            .filter_map(|(case, cors)| Some((format!("~^yes {}$", case.name), quoted(&value(cors)?))));
        (name.to_owned(), entries.collect::<Vec<_>>())
    };
    let list = |items: Vec<&str>| Some(items.join(", ")).filter(|list| !list.is_empty());
    for (name, entries) in [
        own("$cors_allow_methods", &|cors| list(cors.methods.iter().map(|method| method.as_str()).collect())),
        own("$cors_allow_headers", &|cors| list(cors.headers.iter().map(|name| name.as_str()).collect())),
        own("$cors_max_age", &|cors| Some(cors.max_age.as_secs().to_string())),
    ] {
        w.map("\"$preflight_told $preflight_route\"", &name, "\"\"", entries);
    }
    w.map("$preflight_told", "$cors_allow_origin", "$answer_origin", [("yes", "$announced_origin")]);
    let credentials = with.iter().filter(|(_, cors)| cors.credentials).flat_map(|(case, _)| {
        let name = &case.name;
        [
            (format!("~^yes {name} [^ ]+ ."), "\"true\""),
            (format!("~^(?!yes )[^ ]+ [^ ]+ {name} ."), "\"true\""),
        ]
    });
    w.map(
        "\"$preflight_told $preflight_route $route $cors_allow_origin\"",
        "$cors_allow_credentials",
        "\"\"",
        credentials,
    );
    let mut vary = vec![(
        "~^(?:yes|origin|method|fields) ".to_owned(),
        "\"Origin, Access-Control-Request-Method, Access-Control-Request-Headers\"",
    )];
    let named = with.iter().filter(|(_, cors)| cors.origins.is_some());
    vary.extend(named.map(|(case, _)| (format!("~^none {}$", case.name), "\"Origin\"")));
    w.map("\"$preflight_told $route\"", "$cors_vary", "\"\"", vary);
}
