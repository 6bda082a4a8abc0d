//! How the CA is spoken to: over TLS, each call with a timeout and a bound, and its wish to be left alone heard.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::str::FromStr as _;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient, Problem};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// From the call to the end of its answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// More than any chain or problem needs.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// Calls of one order share a connection; between orders there is none.
const CONNECTION_IDLE: Duration = Duration::from_secs(20);

/// Speaks HTTPS to a CA. A clone is cheap and shares its connections.
#[derive(Clone)]
pub(super) struct CaClient {
    http: Client<HttpsConnector<HttpConnector>, BodyWrapper<Bytes>>,
}

/// The CA can't or won't answer now. What it answers otherwise, also a refusal, instant-acme reads.
#[derive(Debug, thiserror::Error)]
#[error("the CA answers {status}: {detail}")]
pub(super) struct Unavailable {
    status: StatusCode,
    detail: String,
    pub(super) retry_after: Option<Duration>,
}

impl CaClient {
    /// A client that trusts the system's roots and those of a PEM file.
    pub(super) fn new(extra_roots: Option<&Path>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(file) = extra_roots {
            let unreadable = || format!("the roots in {} can't be read", file.display());
            for root in CertificateDer::pem_file_iter(file).with_context(unreadable)? {
                roots.add(root.with_context(unreadable)?).with_context(unreadable)?;
            }
        }
        if roots.is_empty() {
            bail!("the system has no root certificates, and none are configured for the CA");
        }
        let tls = ClientConfig::builder_with_provider(ring::default_provider().into())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_only().enable_http1().build();
        let http = Client::builder(TokioExecutor::new()).pool_idle_timeout(CONNECTION_IDLE).build(connector);
        Ok(Self { http })
    }
}

impl HttpClient for CaClient {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let uri = request.uri().clone();
        let answer = self.http.request(request);
        let call = async {
            let (parts, body) = answer.await.map_err(boxed)?.into_parts();
            let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(Error::Other)?.to_bytes();
            if parts.status == StatusCode::TOO_MANY_REQUESTS || parts.status.is_server_error() {
                return Err(boxed(unavailable(parts.status, &parts.headers, &body)));
            }
            Ok(BytesResponse { parts, body: Box::new(body) })
        };
        Box::pin(async move {
            let late = |_| Err(Error::Other(format!("no answer from {uri} within {CALL_TIMEOUT:?}").into()));
            tokio::time::timeout(CALL_TIMEOUT, call).await.unwrap_or_else(late)
        })
    }
}

fn boxed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Other(Box::new(error))
}

/// Reads what instant-acme leaves unread: `Retry-After` of a refusal, and answers that are no problem document,
/// as a proxy in front of a CA gives them.
fn unavailable(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Unavailable {
    let problem = serde_json::from_slice::<Problem>(body).ok();
    let detail = problem.map_or_else(|| "no reason given".to_owned(), |problem| problem.to_string());
    Unavailable { status, detail, retry_after: retry_after(headers, SystemTime::now()) }
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    match u64::from_str(text) {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn the_ca_may_ask_for_a_pause_in_seconds_or_until_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, seconds) in [
            ("120", Some(120)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:36 GMT", None),
            ("soon", None),
        ] {
            let headers = HeaderMap::from_iter([(header::RETRY_AFTER, HeaderValue::from_static(text))]);
            assert_eq!(retry_after(&headers, now), seconds.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn the_reason_of_a_ca_that_is_busy_is_told() {
        let problem = br#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"too many orders"}"#;
        let told = unavailable(StatusCode::TOO_MANY_REQUESTS, &HeaderMap::new(), problem).to_string();
        assert!(told.contains("429") && told.contains("too many orders"), "{told}");
        let told = unavailable(StatusCode::BAD_GATEWAY, &HeaderMap::new(), b"<html>").to_string();
        assert!(told.contains("502"), "{told}");
    }
}
