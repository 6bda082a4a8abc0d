//! Access tokens as the service issues them, signed by whom a measurement likes.

use std::time::{SystemTime, UNIX_EPOCH};

use access_token::{Claims, Role, TOKEN_TYPE};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Issuer and audience of every token.
pub(crate) const ISSUER: &str = "daemun";
/// As long as the service's live.
pub(crate) const LIFETIME_SECONDS: u64 = 900;

/// What a token of user `number` says that was issued at `iat`, in seconds since the Unix epoch.
pub(crate) fn claims(number: usize, iat: u64) -> Claims {
    let id = |kind: u32| format!("01890a5d-ac96-774b-{kind:04x}-{number:012x}");
    Claims {
        iss: ISSUER.into(),
        aud: ISSUER.into(),
        sub: id(1),
        sid: id(2),
        role: Role::User,
        iat,
        exp: iat + LIFETIME_SECONDS,
        nbf: None,
        jti: id(3),
    }
}

/// Puts a token together; `sign` gives the signature of its bytes.
pub(crate) fn issue<S>(algorithm: &str, kid: &str, claims: &Claims, sign: S) -> anyhow::Result<String>
where
    S: FnOnce(&[u8]) -> anyhow::Result<Vec<u8>>,
{
    let header = format!(r#"{{"typ":"{TOKEN_TYPE}","alg":"{algorithm}","kid":"{kid}"}}"#);
    let parts = [header, serde_json::to_string(claims)?].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = parts.join(".");
    let signature = URL_SAFE_NO_PAD.encode(sign(message.as_bytes())?);
    Ok(format!("{message}.{signature}"))
}

/// Seconds since the Unix epoch.
pub(crate) fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}
