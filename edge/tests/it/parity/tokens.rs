//! Tokens good and bad, roles, claims; pages of other sites.

use edge::nginx::About;

use super::case::{Area, Case, ask, get};

const TWICE: &[&str] = &["body detail", "field www-authenticate"];

const TOKENS: &[Case] = &[
    get("/claims", "401 token-missing"),
    get("/claims", "200 backend").with("Authorization: Bearer {user}\r\n"),
    get("/claims", "200 backend").with("Authorization: bearer {user}\r\n"),
    get("/claims", "200 backend").with("Authorization: Bearer {spaced}\r\n"),
    get("/claims", "403 forbidden").with("Authorization: Bearer {mallory}\r\n"),
    get("/claims", "401 invalid-token").with("Authorization: Bearer {forged}\r\n"),
    get("/claims", "401 invalid-token").with("Authorization: Bearer {expired}\r\n"),
    get("/claims", "401 invalid-token").with("Authorization: Bearer {early}\r\n"),
    get("/claims", "401 invalid-token").with("Authorization: Bearer {elsewhere}\r\n"),
    get("/claims", "401 invalid-token").with("Authorization: Bearer {revoked}\r\n"),
    get("/vendor", "403 forbidden").with("Authorization: Bearer {user}\r\n"),
    get("/vendor", "200 backend").with("Authorization: Bearer {vendor}\r\n"),
    get("/vendor", "200 backend").with("Authorization: Bearer {admin}\r\n"),
    get("/vendor", "401 token-missing").with("Authorization: Basic eA==\r\n"),
    get("/vendor", "401 token-missing").with("Authorization:\r\n"),
    get("/vendor", "401 invalid-token").with("Authorization: Bearer\r\n"),
    get("/vendor", "401 invalid-token").with("Authorization: Bearer {vendor} x\r\n"),
    get("/vendor", "401 invalid-token").with("Authorization: Bearer x.y.z\r\n"),
    get("/vendor", "401 token-missing")
        .with("Cookie: token={vendor}\r\nX-Authorization: Bearer {vendor}\r\n"),
    get("/vendor?access_token=x", "400 bad-request"),
    get("/api/me?access_token=x", "400 bad-request").with("Authorization: Bearer {user}\r\n"),
    get("/api/me?%61ccess_toke%6E=x", "400 bad-request").with("Authorization: Bearer {user}\r\n"),
    get("/api/me?a=access_token", "200 backend").with("Authorization: Bearer {user}\r\n"),
    get("/api/vendors?access_token=x", "200 backend"),
    get("/api/vendors", "200 backend").with("Authorization: Bearer {forged}\r\n"),
    get("/admin/api/users", "403 forbidden").with("Authorization: Bearer {user}\r\n"),
    get("/admin/api/users", "200 backend").with("Authorization: Bearer {admin}\r\n"),
    get("/admin/api/users", "401 invalid-token").with("Authorization: Bearer {revoked}\r\n"),
    get("/small", "200 backend"),
    get("/small", "200 backend").with("Authorization: Bearer {user}\r\n"),
    get("/small", "401 invalid-token").with("Authorization: Bearer {expired}\r\n"),
    get("/small?access_token=1", "400 bad-request"),
    get("/small?access%5Ftoken=1", "400 bad-request"),
    get("/small?access%5Ftoken", "400 bad-request"),
    get("//small?access%5ftoken=1", "400 bad-request"),
    get("//small?a&access%5ftoken=1", "400 bad-request"),
    get("//small?access%5Ftoken", "400 bad-request"),
    get("//small?access_token=1", "400 bad-request"),
    get("//small?a=b", "200 backend"),
    get("//claims", "401 token-missing"),
    get("/x/../vendor", "403 forbidden").with("Authorization: Bearer {user}\r\n"),
    get("/%76endor", "401 token-missing"),
    get("//small?a=%62", "200 backend"),
    ask("DELETE", "/api/me", "200 backend").with("Authorization: Bearer {user}\r\n"),
    get("/claims", "400 bad-request")
        .with("Authorization: Bearer {user}\r\nAuthorization: Bearer {user}\r\n")
        .unlike(About::TwoTokens, TWICE),
];

const OTHER_SITES: &[Case] = &[
    get("/shared", "200 backend").with("Authorization: Bearer {user}\r\nOrigin: https://shop.example\r\n"),
    get("/shared", "200 backend").with("Authorization: Bearer {user}\r\nOrigin: https://evil.example\r\n"),
    get("/shared", "401 token-missing").with("Origin: https://shop.example\r\n"),
    get("/shared/open", "200 backend").with("Origin: null\r\n"),
    get("/shared/open", "200 backend"),
    get("/shared?allow_origin=https://evil.example", "200 backend")
        .with("Authorization: Bearer {user}\r\nOrigin: https://evil.example\r\n"),
    ask("OPTIONS", "/shared", "204")
        .with("Origin: https://shop.example\r\nAccess-Control-Request-Method: PUT\r\n"),
    ask("OPTIONS", "/shared", "204").with(
        "Origin: https://shop.example\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: X-A, content-type\r\n",
    ),
    ask("OPTIONS", "/shared", "403 cross-origin-refused").with(
        "Origin: https://shop.example\r\nAccess-Control-Request-Method: PUT\r\nAccess-Control-Request-Headers: x-b\r\n",
    ),
    ask("OPTIONS", "/shared", "403 cross-origin-refused")
        .with("Origin: https://shop.example\r\nAccess-Control-Request-Method: DELETE\r\n"),
    ask("OPTIONS", "/shared", "403 cross-origin-refused")
        .with("Origin: https://evil.example\r\nAccess-Control-Request-Method: PUT\r\n"),
    ask("OPTIONS", "/shared/open", "204")
        .with("Origin: https://any.example\r\nAccess-Control-Request-Method: GET\r\n"),
    ask("OPTIONS", "/shared/nobody", "403 address-not-allowed")
        .with("Origin: https://shop.example\r\nAccess-Control-Request-Method: PUT\r\n"),
    get("/shared/nobody", "403 address-not-allowed").with("Origin: https://shop.example\r\n"),
    ask("OPTIONS", "/shared", "401 token-missing").with("Access-Control-Request-Method: PUT\r\n"),
    ask("OPTIONS", "/shared", "401 token-missing").with("Origin: https://shop.example\r\n"),
    ask("OPTIONS", "/vendor", "401 token-missing")
        .with("Origin: https://shop.example\r\nAccess-Control-Request-Method: PUT\r\n"),
];

pub(crate) fn area() -> Area {
    Area { name: "tokens, roles, claims", cases: TOKENS.to_vec() }
}

pub(crate) fn other_sites() -> Area {
    Area { name: "pages of other sites", cases: OTHER_SITES.to_vec() }
}
