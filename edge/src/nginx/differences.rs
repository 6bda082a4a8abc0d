//! What stock nginx does otherwise than the edge, and what comes of it: told at the head of the configuration and in a page.

use super::about::About;
use super::cases::Case;
use super::guards::Rate;
use crate::config::{Coding, Policy, Target};

/// One thing that stock nginx does otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about.
    pub about: About,
    /// Why it can't be the same.
    pub reason: String,
    /// What a client, a service or an operator notices.
    pub consequence: String,
}

fn difference(about: About, reason: &str, consequence: &str) -> Difference {
    Difference { about, reason: reason.to_owned(), consequence: consequence.to_owned() }
}

/// Those that concern a policy.
pub(super) fn of(policy: &Policy, cases: &[Case<'_>], rates: &[(usize, Rate<'_>)]) -> Vec<Difference> {
    let mut all = Vec::new();
    limits(&mut all, rates);
    tokens(&mut all, cases);
    requests(&mut all, policy);
    services(&mut all, policy, cases);
    if cases.iter().any(|case| matches!(case.route.target, Target::Files(_))) {
        files(&mut all, policy);
    }
    answers(&mut all, policy);
    operations(&mut all, policy);
    all
}

fn limits(all: &mut Vec<Difference>, rates: &[(usize, Rate<'_>)]) {
    all.push(difference(
        About::LimitsByUser,
        "`limit_req` counts before `auth_request` has asked whose token it is",
        "a policy that has one is an error: it is never left out",
    ));
    if rates.is_empty() {
        return;
    }
    all.push(difference(
        About::RateLimitFields,
        "nginx doesn't tell what is left of a budget",
        "neither RateLimit nor RateLimit-Policy is sent; a refusal's Retry-After is constant: the time in which a request comes back to the slowest of the limits that hold",
    ));
    if rates.len() > 1 {
        all.push(difference(
            About::SeveralLimits,
            "nginx charges either all of them or none",
            "what a wider limit refuses isn't charged to a narrower one either (the edge charges those before it): a client that was refused so has that much more left of the narrow one afterwards",
        ));
    }
    let rounded: Vec<_> = rates
        .iter()
        .filter(|(_, rate)| rate.is_rounded())
        .map(|(_, rate)| rate.limit.name.as_str())
        .collect();
    if !rounded.is_empty() {
        all.push(difference(
            About::BudgetsComeBack,
            "nginx counts thousandths of a request a second, and rounds down",
            &format!("in {}, the next request passes up to one part in a hundred later than the limit says, never earlier; as many as ever pass at once", rounded.join(", ")),
        ));
    }
    all.push(difference(
        About::LimitMemory,
        "a zone that is full forgets who came least recently; there is a budget for each nginx, none survives its end",
        "with more than some 80,000 clients in a zone, the budgets of those who stay away are whole again; the edge forgets those first who have spent least",
    ));
}

fn tokens(all: &mut Vec<Difference>, cases: &[Case<'_>]) {
    if !super::servers::has_tokens(cases) {
        return;
    }
    all.push(difference(
        About::Tokens,
        "stock nginx verifies no JWT: a backend does, asked by `auth_request` for each request that needs one",
        "a request more for the backend each time; while no backend answers it, what needs a token is answered with 503, though other backends' pages go on",
    ));
    all.push(difference(
        About::TwoTokens,
        "nginx refuses them itself, at once",
        "400 as ever, but before lists and limits, on routes that look at no token too, and without WWW-Authenticate",
    ));
}

fn requests(all: &mut Vec<Difference>, policy: &Policy) {
    all.push(difference(
        About::ClimbingPaths,
        "nginx refuses `/../x` itself",
        "400, where the edge takes it for `/x`",
    ));
    all.push(difference(
        About::EncodedDetours,
        "where a path has both a detour (`//`, `/./`, an encoded letter, a lower-case encoding) and an encoded one of !$&'()*+,:;=@[], nginx can't say which were encoded",
        "400, where the edge makes it canonical; without the detour it is forwarded byte for byte; a redirect that keeps the path takes no encoded byte at all beside a detour",
    ));
    all.push(difference(
        About::Framing,
        "nginx reads headers by its own rules: it takes bare line feeds, drops fields with illegal names, knows no bound of their number, and no lower-case methods",
        "some malformed requests are repaired where the edge refuses them; a header is bounded by its bytes alone; refusals of this kind, and of CONNECT, have the policy's fields and other words, and `Host` unlike the request line's name gets 421, not 400; a final dot of a name is left out, and a path that can't be decoded is refused before the name is looked at",
    ));
    all.push(difference(
        About::HopByHop,
        "nginx takes out fields of the connection by their names, not those that `Connection` names, and may have read a short body before it sends it",
        "a field that a client named in `Connection` reaches the service; a body that came in chunks may be sent with its length",
    ));
    all.push(difference(
        About::IdentityFields,
        "nginx takes out fields by their whole name, not by how they begin",
        "those that the configuration names are taken out; one of another name beginning X-User-, X-Auth-, X-Forwarded- or X-Original- reaches the service, which must not believe it",
    ));
    if !policy.trusted_proxies.is_empty() {
        all.push(difference(
            About::ForwardedFor,
            "nginx compares an address that is all trusted by its letters, and leaves out empty entries",
            "400 where such an address isn't written the shortest way, and where an entry is empty that the edge wouldn't look at",
        ));
    }
    all.push(difference(
        About::Deadlines,
        "nginx's are for each pause, not for the whole",
        "a client that sends or takes a byte now and then is borne for longer",
    ));
    all.push(difference(
        About::Connections,
        "nginx counts requests at work of an address, and makes room for nobody",
        "an address with too many at once gets 503, an HTTP/2 stream counting as much as a connection; a full nginx lets connections wait, and memory isn't counted",
    ));
}

fn services(all: &mut Vec<Difference>, policy: &Policy, cases: &[Case<'_>]) {
    all.push(difference(
        About::Health,
        "active checks, slow answers that count, draining and ejection by comparison aren't in stock nginx",
        "a server is left out for two seconds after three failures in two seconds, of whatever kind; one that says it isn't ready gets requests until it refuses them",
    ));
    if policy.upstreams.iter().any(|upstream| upstream.servers.len() > 1) {
        all.push(difference(
            About::TryingAgain,
            "nginx can't tell whether a PUT, DELETE or a method of another name was sent; it has one timeout for an answer's beginning and its pauses; and no budget",
            "those methods aren't tried on another server when one refuses the connection: 503; a safe request to a server that hangs goes elsewhere after `read_timeout_ms`, not `answer_timeout_ms`; each failed safe request is repeated",
        ));
    }
    if cases.iter().any(|case| case.route.websocket) {
        all.push(difference(
            About::WebSockets,
            "nginx passes on whatever a server switches to, at any rate",
            "Sec-WebSocket-Accept isn't checked, clients send as fast as they can, and sockets are cut off without a close frame when nginx leaves",
        ));
    }
}

fn files(all: &mut Vec<Difference>, policy: &Policy) {
    all.push(difference(
        About::Files,
        "nginx reads them from the disk, makes its own ETag and knows its own preconditions",
        "ETags are others than the edge's; a `.gz` beside a file is sent however old it is; links aren't followed, also none within the folder; If-Match takes weak ones for none; a refused range says no length and has its fields twice, a part has no Accept-Ranges; extensions that the configuration doesn't name are sent as bytes",
    ));
    if policy.file_memory_bytes > 0 {
        all.push(difference(
            About::FileMemory,
            "`[files]` means nothing to nginx",
            "the system's own cache holds files",
        ));
    }
}

fn answers(all: &mut Vec<Difference>, policy: &Policy) {
    all.push(difference(
        About::Server,
        "stock nginx can't leave it out",
        "each answer says `Server: nginx`, without a version",
    ));
    all.push(difference(
        About::RequestIds,
        "nginx's are random, written as UUIDs of version 4",
        "they aren't in the order of time",
    ));
    all.push(difference(
        About::Problems,
        "a location says fixed words",
        "a refused limit isn't named, an illegal path's detail is general, what nginx itself ends in the middle of its work may be a page of HTML",
    ));
    if let Some(compression) = &policy.compression {
        let missing: Vec<_> =
            compression.codings.iter().filter(|c| **c != Coding::Gzip).map(|c| c.token()).collect();
        all.push(difference(
            About::Compression,
            "stock nginx has gzip alone, for types that are named, and looks at neither Set-Cookie, digests nor no-transform",
            &format!("no {}; an answer with a cookie is compressed like others, except on routes with `compress = false`", if missing.is_empty() { "other coding".to_owned() } else { missing.join(", ") }),
        ));
    }
}

fn operations(all: &mut Vec<Difference>, policy: &Policy) {
    all.push(difference(
        About::AdminPort,
        "stock nginx has no metrics of routes, guards and servers, and takes no orders",
        "`/health` alone is there; no /metrics, no /upstreams, no drain",
    ));
    all.push(difference(
        About::PlainRedirect,
        "nginx can't write a canonical path into a field",
        "it has the path as it was sent; the gateway makes it canonical",
    ));
    if policy.acme.is_some() {
        all.push(difference(
            About::Acme,
            "stock nginx orders no certificates",
            "those of `[[tls.certificates]]` are shown, and renewed by somebody else",
        ));
    }
    all.push(difference(
        About::Certificates,
        "nginx reads certificates when it starts and on SIGHUP, and makes its own ticket keys",
        "a changed file is shown after `nginx -s reload`; tickets end with the process, and aren't shared; a host that no certificate is for is shown the only one there is, where the edge ends the handshake",
    ));
    all.push(difference(
        About::Logs,
        "nginx's error log has whole request lines, with queries",
        "it is silenced below `crit`; the access log has no `tries`, `failure` and `refused_by`, but `problem`",
    ));
}

/// The page.
pub(super) fn notes(differences: &[Difference]) -> String {
    let mut text = String::from(
        "# nginx-compat\n\n\
        The fallback: `nginx.conf` makes stock nginx (1.22 and newer, modules of the stock build only) enforce the policy of\n\
        `config/edge.toml`. It and this page are written by `edge nginx`, never by hand; a test fails when they are stale:\n\n\
        ```\n\
        cargo run -p edge -- nginx config/edge.toml > nginx-compat/nginx.conf\n\
        cargo run -p edge -- nginx config/edge.toml --notes > nginx-compat/README.md\n\
        mkdir -p var/nginx && nginx -p . -c nginx-compat/nginx.conf\n\
        ```\n\n\
        `--absolute` writes whole paths, for a configuration that lies elsewhere. A guard that can't be expressed is an error,\n\
        nothing is left out in silence. Tokens are verified by the backends: `GET /gateway/token` at their management address,\n\
        which is never published.\n\n\
        ## There and back\n\n\
        ```\n\
        edge nginx CONFIG --absolute --state DIR > nginx.conf && nginx -t -p DIR -c nginx.conf   # beforehand; DIR is there\n\
        kill -TERM $EDGE && while ss -Hltn 'sport = :443' | grep -q .; do sleep 0.01; done; nginx -p DIR -c nginx.conf\n\
        kill -QUIT $NGINX && while ss -Hltn 'sport = :443' | grep -q .; do sleep 0.01; done; edge run CONFIG      # back\n\
        docker compose --profile nginx up --detach --wait --scale edge=0            # with containers, in seconds\n\
        docker compose --profile nginx rm --stop --force nginx && docker compose up --detach --wait      # back\n\
        ```\n\n\
        Whoever leaves closes its doors at once and ends what is in flight. Measured under load (`perf/fallback.sh`, 100 GETs a second,\n\
        each on a new connection, five times there and back): of about 305 asked around each switch 3 failed at most, within 33 ms.\n\
        `cargo xtask up --gateway nginx` runs the whole product behind nginx.\n\n\
        ## What stock nginx does otherwise\n\n\
        | about | why | what comes of it |\n|---|---|---|\n",
    );
    for Difference { about, reason, consequence } in differences {
        text.push_str(&format!("| {about} | {reason} | {consequence} |\n"));
    }
    text.push_str(
        "\n## How it is shown\n\n\
        `edge/tests/it/parity/` sends each of these requests to the edge and to nginx, in front of the same backends: status,\n\
        problem, fields and body of the answer, and method, target, fields and body of what reached a backend agree, but\n\
        for what a case names. No case that differs is a guard's verdict, and in none nginx lets in whom the edge refuses. The one\n\
        thing that guards judge otherwise is told above, `several limits at once`: no limit lets through more than it says.\n\n",
    );
    text.push_str(include_str!("parity.md"));
    text.push_str(
        "\nBesides, policies and requests at random get the same answers: 8 policies of 40 requests in each test run, and as many\n\
        as are asked for: `PARITY_POLICIES=300 cargo test -p edge --test it parity::random -- --nocapture` (`PARITY_SEED`\n\
        draws the same again).\n",
    );
    text
}
