//! A provider's public keys: fetched when needed, kept, fetched again when a token names an unknown one.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::sync::Mutex;

/// A provider publishes a handful of keys in a few kilobytes.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 32;

/// Whoever sends tokens with invented key ids makes us ask the provider no more often than this.
const REFETCH_INTERVAL: Duration = Duration::from_secs(60);

/// Keys that are older are fetched again, so that a key which the provider has withdrawn goes here too.
const MAX_AGE: Duration = Duration::from_secs(3600);

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderKeysError {
    /// The provider has no key of this id.
    #[error("the provider has no such key")]
    UnknownKey,
    /// The provider's keys can't be had now.
    #[error("the provider's keys can't be read: {0}")]
    Unreachable(String),
}

/// The keys of one provider.
pub(super) struct ProviderKeys {
    url: String,
    http: reqwest::Client,
    current: RwLock<Option<Arc<Keys>>>,
    /// Held while fetching: one request at a time, and what it brought serves all who waited.
    fetching: Mutex<Fetches>,
}

struct Keys {
    by_id: HashMap<String, DecodingKey>,
    fetched_at: Instant,
}

#[derive(Default)]
struct Fetches {
    /// The last attempt and, when it failed, why.
    last: Option<(Instant, Option<String>)>,
    last_refetch: Option<Instant>,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Jwk>,
}

/// An RSA public key as a JWK (RFC 7518, section 6.3.1); keys of other types lack its members.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl ProviderKeys {
    pub(super) fn new(url: String, http: reqwest::Client) -> Self {
        Self { url, http, current: RwLock::default(), fetching: Mutex::default() }
    }

    /// The key of this id.
    pub(super) async fn find(&self, kid: &str) -> Result<DecodingKey, ProviderKeysError> {
        let asked_at = Instant::now();
        if let Some(keys) = self.current()
            && keys.fetched_at.elapsed() < MAX_AGE
            && let Some(key) = keys.by_id.get(kid)
        {
            return Ok(key.clone());
        }
        let mut fetches = self.fetching.lock().await;
        self.fetch_if_due(&mut fetches, asked_at).await;
        let key = self.current().and_then(|keys| keys.by_id.get(kid).cloned());
        let failure = fetches.last.as_ref().and_then(|(_, failure)| failure.clone());
        match (key, failure) {
            (Some(key), _) => Ok(key),
            (None, Some(failure)) => Err(ProviderKeysError::Unreachable(failure)),
            (None, None) => Err(ProviderKeysError::UnknownKey),
        }
    }

    async fn fetch_if_due(&self, fetches: &mut Fetches, asked_at: Instant) {
        if fetches.last.as_ref().is_some_and(|(at, _)| *at >= asked_at) {
            return;
        }
        let is_refetch = self.current().is_some();
        if is_refetch {
            if fetches.last_refetch.is_some_and(|at| at.elapsed() < REFETCH_INTERVAL) {
                return;
            }
            fetches.last_refetch = Some(Instant::now());
        }
        let failure = match self.fetch().await {
            Ok(by_id) => {
                let keys = Keys { by_id, fetched_at: Instant::now() };
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
                None
            }
            Err(error) => Some(format!("{error:#}")),
        };
        fetches.last = Some((Instant::now(), failure));
    }

    async fn fetch(&self) -> anyhow::Result<HashMap<String, DecodingKey>> {
        let mut response = self.http.get(&self.url).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await? {
            anyhow::ensure!(body.len() + chunk.len() <= MAX_DOCUMENT_BYTES, "the key document is too large");
            body.extend_from_slice(&chunk);
        }
        let keys = parse(&body)?;
        anyhow::ensure!(!keys.is_empty(), "the key document holds no key for RS256");
        Ok(keys)
    }

    fn current(&self) -> Option<Arc<Keys>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The RS256 keys of a JWK Set; others are passed over.
fn parse(document: &[u8]) -> anyhow::Result<HashMap<String, DecodingKey>> {
    let document: Document = serde_json::from_slice(document)?;
    let mut keys = HashMap::new();
    for jwk in document.keys.into_iter().take(MAX_KEYS) {
        let is_rs256 = jwk.kty == "RSA"
            && jwk.alg.is_none_or(|alg| alg == "RS256")
            && jwk.usage.is_none_or(|usage| usage == "sig");
        if let (true, Some(kid), Some(n), Some(e)) = (is_rs256, jwk.kid, jwk.n, jwk.e) {
            keys.insert(kid, DecodingKey::from_rsa_components(&n, &e)?);
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    const KEYS: &str = r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"},
        {"kty":"EC","kid":"b","crv":"P-256"},{"kty":"RSA","kid":"c","alg":"RS512","n":"AQAB","e":"AQAB"}]}"#;

    /// A provider that counts how often it is asked, and fails while `fails` says so.
    async fn provider(fails: usize) -> (ProviderKeys, Arc<AtomicUsize>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let asked = Arc::new(AtomicUsize::new(0));
        let counter = asked.clone();
        let answer = async move || {
            let count = counter.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            if count < fails { Err(StatusCode::BAD_GATEWAY) } else { Ok(KEYS) }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let router = Router::new().route("/", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        (ProviderKeys::new(url, reqwest::Client::new()), asked)
    }

    #[test]
    fn keys_for_other_algorithms_are_passed_over() {
        let keys = parse(KEYS.as_bytes()).expect("a key set");
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[tokio::test]
    async fn many_who_need_keys_at_once_cause_one_request() {
        let (keys, asked) = provider(0).await;
        let found = futures_util::future::join_all((0..50).map(|_| keys.find("a"))).await;
        assert!(found.iter().all(Result::is_ok));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn an_unknown_key_is_asked_for_once_a_minute() {
        let (keys, asked) = provider(0).await;
        for _ in 0..5 {
            assert!(matches!(keys.find("nobody's").await, Err(ProviderKeysError::UnknownKey)));
        }
        assert_eq!(asked.load(Ordering::SeqCst), 2, "the first fetch, and one more");
    }

    #[tokio::test]
    async fn a_provider_that_failed_is_asked_again_by_the_next() {
        let (keys, _) = provider(1).await;
        assert!(matches!(keys.find("a").await, Err(ProviderKeysError::Unreachable(_))));
        assert!(keys.find("a").await.is_ok());
    }
}
