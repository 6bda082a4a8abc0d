//! What providers tell a service of its users: Google signs security events (RISC, RFC 8417), Kakao calls a webhook when a
//! user unlinks the service.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, ensure};
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Json, State};
use axum::http::request::Builder;
use axum::http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use url::Url;

use crate::issuer::{Issuer, Refusal, seconds};
use crate::persona::Persona;
use crate::{CLIENT_ID, KAKAO_ADMIN_KEY};

/// Kakao gives a service three seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is to be sent, and to whom.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Order {
    sub: String,
    /// Where it is sent; without it nothing is, and the event is only shown.
    #[serde(default)]
    receiver: Option<Url>,
    /// Google: `sessions-revoked`, `tokens-revoked`, `account-disabled`, `account-purged` …
    #[serde(default = "sessions_revoked")]
    event: String,
    /// An event is known by it; another one of the same id is the same event.
    #[serde(default)]
    jti: Option<String>,
}

fn sessions_revoked() -> String {
    "sessions-revoked".into()
}

/// Sends an event; answers what was sent, and the receiver's status.
pub(crate) async fn send(
    State(issuer): State<Arc<Issuer>>,
    order: Result<Json<Order>, JsonRejection>,
) -> Result<Json<Value>, Refusal> {
    let Json(order) = order?;
    let (body, media_type, authorization) = match issuer.persona {
        Persona::Google => (security_event(&issuer, &order)?, "application/secevent+jwt", None),
        Persona::Kakao => {
            let body = url::form_urlencoded::Serializer::new(String::new())
                .append_pair("app_id", CLIENT_ID)
                .append_pair("user_id", &order.sub)
                .append_pair("referrer_type", "UNLINK_FROM_APPS")
                .finish();
            let authorization = format!("KakaoAK {KAKAO_ADMIN_KEY}");
            (body, "application/x-www-form-urlencoded;charset=utf-8", Some(authorization))
        }
    };
    let Some(receiver) = order.receiver else { return Ok(Json(json!({ "sent": body, "status": null }))) };
    let mut request = Request::post(receiver.path()).header(header::CONTENT_TYPE, media_type);
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let status = timeout(PATIENCE, post(&receiver, request, body.clone())).await;
    let status = status.map_err(|_| Refusal::bad_gateway("the receiver doesn't answer".into()))?;
    let status = status.map_err(|error| Refusal::bad_gateway(format!("{error:#}")))?;
    Ok(Json(json!({ "sent": body, "status": status.as_u16() })))
}

/// To a backend of this machine: plain HTTP/1.1.
async fn post(receiver: &Url, request: Builder, body: String) -> anyhow::Result<StatusCode> {
    ensure!(receiver.scheme() == "http", "a receiver is reached by plain HTTP, a backend's own port");
    let addresses = receiver.socket_addrs(|| None)?;
    let address = addresses.first().context("the receiver has no address")?;
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = request.header(header::HOST, receiver.authority()).body(Full::new(Bytes::from(body)))?;
    // It ends with this call.
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    Ok(sender.send_request(request).await?.status())
}

/// Cross-Account Protection's form of a Security Event Token.
fn security_event(issuer: &Issuer, order: &Order) -> Result<String, Refusal> {
    let kind = format!("https://schemas.openid.net/secevent/risc/event-type/{}", order.event);
    let jti = order.jti.clone().unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    issuer.sign(&json!({
        "iss": issuer.url,
        "aud": CLIENT_ID,
        "iat": seconds(SystemTime::now()),
        "jti": jti,
        "events": { kind: { "subject": { "subject_type": "iss-sub", "iss": issuer.url, "sub": order.sub } } },
    }))
}
