//! Tokens that nobody should take: rows J01 and J02, and of J03 what is odd in a token itself.

use std::net::TcpListener;

use access_token::Role;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use reqwest::StatusCode;

use crate::edge_process::{Edge, Signer, problem_of};
use crate::tokens::{ask, challenge};

/// Sees each of these refused as an invalid token, and none reach a backend.
async fn are_refused(edge: &Edge, tokens: impl IntoIterator<Item = (String, String)>) {
    for (what, token) in tokens {
        // Twice: nothing about the first time may help the second.
        for _ in 0..2 {
            let response = ask(edge, "/api/me", &format!("Bearer {token}")).await;
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{what}");
            assert_eq!(challenge(&response), r#"Bearer realm="daemun", error="invalid_token""#, "{what}");
            assert_eq!(problem_of(response).await, "invalid-token", "{what}");
        }
    }
    assert!(edge.received().is_empty());
}

/// The control: what these tests change is a good token.
async fn passes(edge: &Edge, token: &str) {
    assert_eq!(ask(edge, "/api/me", &format!("Bearer {token}")).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn no_other_algorithm_than_the_keys_is_taken() {
    let edge = Edge::start().await;
    let sign = &edge.signer;
    let payload = sign.payload();
    let mut tokens = Vec::new();
    for none in ["none", "None", "NONE", "nOnE"] {
        let header = sign.header("").replace("EdDSA", none);
        let signed = sign.sign(&header, &payload);
        let unsigned = Signer::unsigned(&header, &payload);
        tokens.extend([signed, format!("{unsigned}."), unsigned].map(|token| (none.to_owned(), token)));
    }
    for algorithm in ["eddsa", "Ed448", "RS256", "ES256", "HS256", ""] {
        let header = sign.header("").replace("EdDSA", algorithm);
        tokens.push((algorithm.to_owned(), sign.sign(&header, &payload)));
    }
    // The public key is no secret: whoever takes its bytes for one takes a stranger's word.
    let key = base64_bytes(&sign.public);
    for secret in [key.as_slice(), sign.public.as_bytes(), sign.jwks().as_bytes()] {
        let claims: serde_json::Value = serde_json::from_str(&payload).expect("JSON");
        let mut header = Header::new(Algorithm::HS256);
        header.typ = Some("at+jwt".to_owned());
        header.kid = Some("key-1".to_owned());
        let token = encode(&header, &claims, &EncodingKey::from_secret(secret)).expect("a token");
        tokens.push(("HS256 with the public key".to_owned(), token));
    }
    are_refused(&edge, tokens).await;
    passes(&edge, &sign.sign(&sign.header(""), &payload)).await;
}

fn base64_bytes(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

#[tokio::test]
async fn a_key_that_a_token_brings_or_points_to_is_neither_used_nor_fetched() {
    let edge = Edge::start().await;
    let trap = TcpListener::bind("127.0.0.1:0").expect("a port");
    trap.set_nonblocking(true).expect("non-blocking");
    let url = format!("http://{}/keys.json", trap.local_addr().expect("an address"));
    // Another's key, under the name of ours or its own.
    let strangers = [Signer::new("key-1"), Signer::new("stranger")];
    let mut tokens = Vec::new();
    for stranger in &strangers {
        let jwk = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, stranger.public);
        for field in [
            format!(r#","jku":"{url}""#),
            format!(r#","x5u":"{url}""#),
            format!(r#","jwk":{jwk}"#),
            format!(r#","x5c":["{}"]"#, stranger.public),
            format!(r#","jku":"file:///dev/null","x5u":"file:///etc/passwd","jwk":{jwk}"#),
        ] {
            tokens.push((field.clone(), stranger.sign(&stranger.header(&field), &stranger.payload())));
        }
    }
    for kid in [
        url.as_str(),
        "../../../../../../dev/null",
        "/proc/self/environ",
        "' OR '1'='1",
        "key-1\\u0000",
        "key-1; ls",
    ] {
        let header = strangers[0].header("").replace("key-1", kid);
        tokens.push((format!("kid {kid}"), strangers[0].sign(&header, &strangers[0].payload())));
    }
    let long = strangers[0].header("").replace("key-1", &"k".repeat(10_000));
    tokens.push(("kid of 10 kB".to_owned(), strangers[0].sign(&long, &strangers[0].payload())));
    are_refused(&edge, tokens).await;
    let error = trap.accept().expect_err("nobody has come");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn what_must_be_understood_and_isnt_refuses_the_token() {
    let edge = Edge::start().await;
    let sign = &edge.signer;
    let fields = [
        r#","crit":["x"],"x":1"#,
        r#","crit":["b64"],"b64":false"#,
        r#","crit":[]"#,
        r#","crit":"exp""#,
        r#","crit":["exp"]"#,
    ];
    let tokens = fields.map(|field| (field.to_owned(), sign.sign(&sign.header(field), &sign.payload())));
    are_refused(&edge, tokens).await;
}

#[tokio::test]
async fn times_that_do_not_hold_refuse_the_token() {
    let edge = Edge::start().await;
    let sign = &edge.signer;
    let payload = sign.payload();
    let claims: serde_json::Value = serde_json::from_str(&payload).expect("JSON");
    let (iat, exp) = (claims["iat"].as_u64().expect("a number"), claims["exp"].as_u64().expect("a number"));
    let exp_text = format!(r#""exp":{exp}"#);
    assert!(payload.contains(&exp_text));
    let variants = [
        ("exp past", format!(r#""exp":{}"#, iat - 60)),
        ("exp missing", r#""x":1"#.to_owned()),
        ("exp null", r#""exp":null"#.to_owned()),
        ("exp as text", format!(r#""exp":"{exp}""#)),
        ("exp beyond all numbers", r#""exp":1e400"#.to_owned()),
        ("exp below nought", r#""exp":-1"#.to_owned()),
        ("exp with a fraction", format!(r#""exp":{exp}.5"#)),
        ("exp in a hundred years", format!(r#""exp":{}"#, iat + 3_153_600_000)),
        ("exp at the end of numbers", format!(r#""exp":{}"#, u64::MAX)),
        ("exp twice", format!(r#""exp":{exp},"exp":{exp}"#)),
        ("nbf ahead", format!(r#"{exp_text},"nbf":{}"#, iat + 60)),
        ("nbf as text", format!(r#"{exp_text},"nbf":"{iat}""#)),
        ("nbf beyond all numbers", format!(r#"{exp_text},"nbf":1e400"#)),
    ];
    let forge = |claim: &str| sign.sign(&sign.header(""), &payload.replace(&exp_text, claim));
    are_refused(&edge, variants.map(|(what, claim)| (what.to_owned(), forge(&claim)))).await;
    passes(&edge, &forge(&format!(r#"{exp_text},"nbf":{iat}"#))).await;
}

#[tokio::test]
async fn a_token_for_another_place_or_of_another_kind_is_refused() {
    let edge = Edge::start().await;
    let sign = &edge.signer;
    let claim = |from: &str, to: &str| sign.sign(&sign.header(""), &sign.payload().replace(from, to));
    let typ = |typ: &str| sign.sign(&sign.header("").replace("at+jwt", typ), &sign.payload());
    let tokens = [
        ("aud of another", claim(r#""aud":"daemun""#, r#""aud":"another""#)),
        ("aud of several", claim(r#""aud":"daemun""#, r#""aud":["another","daemun"]"#)),
        ("no aud", claim(r#""aud":"daemun","#, "")),
        ("iss of another", claim(r#""iss":"daemun""#, r#""iss":"another""#)),
        ("iss with a slash", claim(r#""iss":"daemun""#, r#""iss":"daemun/""#)),
        ("no iss", claim(r#""iss":"daemun","#, "")),
        ("an id_token", typ("JWT")),
        ("typ in capitals", typ("AT+JWT")),
        ("no typ", sign.sign(r#"{"alg":"EdDSA","kid":"key-1"}"#, &sign.payload())),
        ("no kid", sign.sign(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, &sign.payload())),
        ("role of nobody", claim(r#""role":"user""#, r#""role":"root""#)),
    ];
    are_refused(&edge, tokens.map(|(what, token)| (what.to_owned(), token))).await;
}

#[tokio::test]
async fn a_token_has_one_spelling() {
    let edge = Edge::start().await;
    let good = edge.signer.token(Role::User);
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (header, payload) = message.split_once('.').expect("three parts");
    let last = good.chars().last().expect("a character");
    // Of the last character four bits are unused: A, Q, g and w are canonical, what is next to them isn't.
    let next = char::from(last as u8 + 1);
    let tokens = [
        ("bits behind the end", format!("{}{next}", &good[..good.len() - 1])),
        ("padding", format!("{good}==")),
        ("padding within", format!("{header}=.{payload}.{signature}")),
        ("standard base64", format!("{header}.{payload}.{}+/", &signature[..signature.len() - 2])),
        ("no signature", message.to_owned()),
        ("an empty signature", format!("{message}.")),
        ("half a signature", format!("{message}.{}", &signature[..43])),
        ("another's signature", format!("{message}.{}", "A".repeat(86))),
        ("a fourth part", format!("{good}.{signature}")),
        ("an empty part", format!("{header}..{payload}.{signature}")),
        ("nothing in it", "a.b.c".to_owned()),
        ("dots", "..".to_owned()),
    ];
    are_refused(&edge, tokens.map(|(what, token)| (what.to_owned(), token))).await;
    passes(&edge, &good).await;
}

#[tokio::test]
async fn odd_json_is_refused_cheaply() {
    let edge = Edge::start().await;
    let sign = &edge.signer;
    let payload = sign.payload();
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let tokens = [
        ("deep header", sign.sign(&sign.header(&format!(r#","x":{}"#, deep(1200))), &payload)),
        ("deep payload", sign.sign(&sign.header(""), &deep(1200))),
        ("too deep to be read", sign.sign(&deep(1200), &payload)),
        ("alg twice", sign.sign(&sign.header(r#","alg":"EdDSA""#), &payload)),
        ("kid twice", sign.sign(&sign.header(r#","kid":"key-1""#), &payload)),
        ("sub twice", sign.sign(&sign.header(""), &payload.replacen('{', r#"{"sub":"admin","#, 1))),
        ("role twice", sign.sign(&sign.header(""), &payload.replacen('{', r#"{"role":"admin","#, 1))),
        ("no JSON", sign.sign(&sign.header(""), "exp=1")),
        ("an empty payload", sign.sign(&sign.header(""), "")),
        ("a list", sign.sign(&sign.header(""), "[]")),
        ("something behind it", sign.sign(&sign.header(""), &format!("{payload} {{}}"))),
    ];
    are_refused(&edge, tokens.map(|(what, token)| (what.to_owned(), token))).await;
    let response = edge.client().get(edge.url("/api/vendors")).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK, "it goes on serving");
}
