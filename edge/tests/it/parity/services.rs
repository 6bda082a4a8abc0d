//! What reaches the services: fields, bodies, WebSockets.

use edge::nginx::About;

use super::case::{Area, Case, ask, get};

const FORGED: &str = "X-User-Id: root\r\nX-User-Role: admin\r\nX-Auth-User: root\r\nForwarded: for=1.2.3.4\r\n\
    X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: http\r\nX-Real-IP: 1.2.3.4\r\n\
    X-Original-URL: /admin\r\nX-Rewrite-URL: /admin\r\nX-Request-Id: mine\r\nProxy: http://evil.example\r\n\
    X_User_Id: root\r\nTrue-Client-IP: 1.2.3.4\r\nCF-Connecting-IP: 1.2.3.4\r\nX-Client-IP: 1.2.3.4\r\n";

const MALFORMED: &[&str] = &[
    "body detail",
    "field content-security-policy",
    "field permissions-policy",
    "field referrer-policy",
    "field x-content-type-options",
    "field x-frame-options",
];

const CASES: &[Case] = &[
    get("/d/x", "200 backend").with(FORGED),
    ask("POST", "/d/x", "200 backend").with(concat!("X-User-Id: root\r\n", "Content-Length: 2\r\n")).sending("hi"),
    get("/d/x", "200 backend").with(
        "Idempotency-Key: k\r\nCookie: a=b; c=d\r\nX-Own: 1\r\nAccept: text/plain\r\nUser-Agent: u\r\nAccept-Language: ko\r\n",
    ),
    get("/d/x", "200 backend").with("X-Own: 1\r\nX-Own: 2\r\n"),
    get("/d/x", "200 backend").with("Connection: close, x-own\r\nX-Own: 1\r\n").unlike(About::HopByHop, &["backend field x-own"]),
    get("/d/x", "200 backend").with("TE: trailers\r\nKeep-Alive: 5\r\n"),
    get("/d/x", "200 backend").with("Upgrade: websocket\r\nConnection: upgrade, close\r\n"),
    get("/d/x", "200 backend").with("Proxy-Authorization: x\r\nProxy-Connection: close\r\n"),
    get("/d/x", "200 backend").with("X-Request-Id: mine\r\n").unlike(
        About::RequestIds,
        &["field x-request-id"],
    ),
    get("/d/x", "200 backend").unlike(About::Server, &["field server"]),
    get("/d/x", "200 backend")
        .with("X-User-Shoe-Size: 43\r\n")
        .unlike(About::IdentityFields, &["backend field x-user-shoe-size"]),
    // Bodies.
    ask("POST", "/d/x", "200 backend").with("Content-Length: 5\r\n").sending("hello"),
    ask("PUT", "/d/x", "200 backend").with("Transfer-Encoding: chunked\r\n").sending("5\r\nhello\r\n0\r\n\r\n").unlike(About::HopByHop, &["backend field content-length", "backend field transfer-encoding"]),
    ask("POST", "/d/x", "413 body-too-large").with("Content-Length: 1048577\r\n"),
    ask("POST", "/small", "200 backend").with("Content-Length: 10\r\n").sending("0123456789"),
    ask("POST", "/small", "413 body-too-large").with("Content-Length: 11\r\n"),
    ask("POST", "/small", "401 invalid-token").with("Content-Length: 11\r\nAuthorization: Bearer x\r\n"),
    ask("POST", "/small", "413 body-too-large")
        .with("Transfer-Encoding: chunked\r\n")
        .sending("b\r\nhello world\r\n0\r\n\r\n").unlike(About::Problems, &["body detail"]),
    ask("POST", "/d/x", "400 bad-request").with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n").sending("0\r\n\r\n").unlike(About::Framing, MALFORMED),
    ask("POST", "/d/x", "400 bad-request").with("Content-Length: x\r\n").unlike(About::Framing, MALFORMED),
    // What a service says.
    get("/d/x?status=500", "500 backend"),
    get("/d/x?status=404", "404 backend"),
    get("/", "200 backend").to("a.example"),
    get("/d/x?status=503", "503 backend"),
    get("/quick?wait_ms=3000", "502 bad-gateway"),
];

const ASKS: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: https://b.example\r\n";

const WEBSOCKETS: &[Case] = &[
    get("/api/chat/ws", "101").with(ASKS),
    get("/api/chat/ws", "401 token-missing"),
    get("/api/chat/ws", "403 foreign-origin").with("Origin: https://evil.example\r\n"),
    get("/api/chat/ws", "403 foreign-origin").with("Origin: null\r\n"),
    get("/api/chat/ws", "403 foreign-origin").with("Origin:\r\nAuthorization: Bearer {user}\r\n"),
    get("/api/chat/ws", "403 foreign-origin").with("Origin: https://evil.example\r\nAuthorization: Bearer {user}\r\n"),
    get("/api/chat/ws", "401 invalid-token").with("Origin: https://b.example\r\nAuthorization: Bearer {expired}\r\n"),
    get("/api/chat/ws", "101").with(
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer {user}\r\n",
    ),
    get("/d/x", "200 backend").with(ASKS),
];

pub(crate) fn area() -> Area {
    Area { name: "services", cases: CASES.to_vec() }
}

pub(crate) fn websockets() -> Area {
    Area { name: "WebSockets", cases: WEBSOCKETS.to_vec() }
}
