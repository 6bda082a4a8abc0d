//! A provider's public keys: fetched when they are first needed, again every few minutes, and when a token names an unknown one.
//!
//! Whoever invents key ids must neither make us ask the provider without end nor keep a real new key from being learned.
//! So fetches for unknown ids are rationed, and whoever comes meanwhile waits for the next one, which serves all who came
//! before it. Under any flood there is a fetch each [`Pace::between`], and a real key is known after the first of them.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// A provider publishes a handful of keys in a few kilobytes.
const MAX_DOCUMENT_BYTES: usize = 64 * 1024;
const MAX_KEYS: usize = 32;

/// Who may wait for a fetch at once; others are told to come again.
const MAX_WAITING: usize = 256;

/// Fetches for unknown keys that may follow each other at once, when there were none for a while.
const BURST: u32 = 3;

/// How often the provider is asked.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Whether or not anybody names an unknown key: a key that the provider has withdrawn goes here too.
    poll: Duration,
    /// Between two fetches for unknown keys, in the long run.
    between: Duration,
    /// For so long after a failed fetch its failure is the answer.
    after_failure: Duration,
    /// How long somebody waits for a fetch. The gateway's patience is 10 seconds.
    patience: Duration,
    /// Keys that couldn't be fetched again for so long no longer count.
    max_age: Duration,
}

const PACE: Pace = Pace {
    poll: Duration::from_secs(300),
    between: Duration::from_secs(5),
    after_failure: Duration::from_secs(1),
    patience: Duration::from_secs(6),
    max_age: Duration::from_secs(3600),
};

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
    pace: Pace,
    current: RwLock<Option<Arc<Keys>>>,
    /// Held while fetching: one request at a time, and what it brought serves all who waited.
    fetching: Mutex<Fetches>,
    places: Semaphore,
}

struct Keys {
    by_id: HashMap<String, DecodingKey>,
    fetched_at: Instant,
}

#[derive(Default)]
struct Fetches {
    last: Option<Fetch>,
    /// When the ration is whole again.
    whole_at: Option<Instant>,
}

struct Fetch {
    began: Instant,
    ended: Instant,
    failure: Option<String>,
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
        Self {
            url,
            http,
            pace: PACE,
            current: RwLock::default(),
            fetching: Mutex::default(),
            places: Semaphore::new(MAX_WAITING),
        }
    }

    /// Fetches the keys again and again, for as long as it is run.
    pub(super) async fn poll(&self) {
        loop {
            self.fetch_anew(&mut *self.fetching.lock().await).await;
            sleep(self.pace.poll).await;
        }
    }

    /// The key of this id.
    pub(super) async fn find(&self, kid: &str) -> Result<DecodingKey, ProviderKeysError> {
        let asked_at = Instant::now();
        if let Some(key) = self.known(kid) {
            return Ok(key);
        }
        let unreachable = |why: &str| ProviderKeysError::Unreachable(why.to_owned());
        let _place = self.places.try_acquire().map_err(|_| unreachable("very many wait for them"))?;
        let fetched = timeout(self.pace.patience, self.fetch_for(kid, asked_at)).await;
        let failure = fetched.map_err(|_| unreachable("others have to be waited for"))?;
        match (self.known(kid), failure) {
            (Some(key), _) => Ok(key),
            (None, Some(failure)) => Err(ProviderKeysError::Unreachable(failure)),
            (None, None) => Err(ProviderKeysError::UnknownKey),
        }
    }

    fn known(&self, kid: &str) -> Option<DecodingKey> {
        let keys = self.current.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        (keys.fetched_at.elapsed() < self.pace.max_age).then(|| keys.by_id.get(kid).cloned())?
    }

    /// Waits until the key is known, or for a fetch that begins after `asked_at`, by somebody else or here; why that failed,
    /// if it did.
    async fn fetch_for(&self, kid: &str, asked_at: Instant) -> Option<String> {
        let mut fetches = self.fetching.lock().await;
        if self.known(kid).is_some() {
            return None;
        }
        if let Some(Fetch { began, ended, failure }) = &fetches.last {
            let is_answered = *began >= asked_at;
            let is_too_soon = failure.is_some() && ended.elapsed() < self.pace.after_failure;
            if is_answered || is_too_soon {
                return failure.clone();
            }
        }
        // The lock is held meanwhile: who comes later waits behind it, and gets what this brings.
        let whole_at = fetches.whole_at.unwrap_or_else(Instant::now);
        if let Some(due) = whole_at.checked_sub(self.pace.between * (BURST - 1)) {
            sleep_until(due).await;
        }
        fetches.whole_at = Some(whole_at.max(Instant::now()) + self.pace.between);
        self.fetch_anew(&mut fetches).await
    }

    async fn fetch_anew(&self, fetches: &mut Fetches) -> Option<String> {
        let began = Instant::now();
        let failure = match self.fetch().await {
            Ok(by_id) => {
                let keys = Keys { by_id, fetched_at: Instant::now() };
                *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(keys));
                None
            }
            Err(error) => {
                tracing::warn!(
                    url = self.url,
                    error = format!("{error:#}"),
                    "a provider's keys can't be read"
                );
                Some(format!("{error:#}"))
            }
        };
        fetches.last = Some(Fetch { began, ended: Instant::now(), failure: failure.clone() });
        failure
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
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;
    use tokio::task::JoinSet;

    use super::*;

    const KEYS: &str = r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"},
        {"kty":"EC","kid":"b","crv":"P-256"},{"kty":"RSA","kid":"c","alg":"RS512","n":"AQAB","e":"AQAB"}]}"#;
    const ROTATED: &str = r#"{"keys":[{"kty":"RSA","kid":"d","n":"AQAB","e":"AQAB"}]}"#;

    const QUICK: Pace = Pace {
        poll: Duration::from_millis(50),
        between: Duration::from_millis(200),
        after_failure: Duration::ZERO,
        patience: Duration::from_secs(5),
        max_age: Duration::from_secs(3600),
    };

    /// A provider that counts how often it is asked, fails the first times, and can rotate its key.
    #[derive(Default)]
    struct Provider {
        asked: AtomicUsize,
        fails: AtomicUsize,
        has_rotated: AtomicBool,
    }

    async fn start(pace: Pace) -> (Arc<ProviderKeys>, Arc<Provider>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let provider = Arc::new(Provider::default());
        let asked = Arc::clone(&provider);
        let answer = async move || {
            let count = asked.asked.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(20)).await;
            match asked.has_rotated.load(Ordering::SeqCst) {
                _ if count < asked.fails.load(Ordering::SeqCst) => Err(StatusCode::BAD_GATEWAY),
                true => Ok(ROTATED),
                false => Ok(KEYS),
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("bound"));
        let router = Router::new().route("/", get(answer));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let keys = ProviderKeys { pace, ..ProviderKeys::new(url, reqwest::Client::new()) };
        (Arc::new(keys), provider)
    }

    #[test]
    fn keys_for_other_algorithms_are_passed_over() {
        let keys = parse(KEYS.as_bytes()).expect("a key set");
        assert_eq!(keys.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[tokio::test]
    async fn many_who_need_keys_at_once_cause_one_request() {
        let (keys, provider) = start(PACE).await;
        let found = futures_util::future::join_all((0..50).map(|_| keys.find("a"))).await;
        assert!(found.iter().all(Result::is_ok));
        assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn a_new_key_is_known_to_the_first_who_brings_it() {
        let (keys, provider) = start(PACE).await;
        keys.find("a").await.expect("known");
        provider.has_rotated.store(true, Ordering::SeqCst);
        keys.find("d").await.expect("known");
        assert!(matches!(keys.find("a").await, Err(ProviderKeysError::UnknownKey)), "withdrawn");
    }

    #[tokio::test]
    async fn a_flood_of_invented_keys_is_rationed_and_starves_no_rotation() {
        let (keys, provider) = start(QUICK).await;
        let mut flood = JoinSet::new();
        // More than may wait: they are there at every moment.
        for _ in 0..MAX_WAITING + 50 {
            let keys = Arc::clone(&keys);
            flood.spawn(async move {
                loop {
                    let _ = keys.find("invented").await;
                    sleep(Duration::from_millis(1)).await;
                }
            });
        }
        let began = Instant::now();
        sleep(QUICK.between * 8).await;
        provider.has_rotated.store(true, Ordering::SeqCst);
        let rotated = Instant::now();
        while keys.find("d").await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
        // Of the real pace that is 5 seconds, and a fetch; the rest is a busy machine's.
        assert!(rotated.elapsed() < QUICK.between * 8, "{:?}", rotated.elapsed());
        let most = BURST as usize + 2 + (began.elapsed().as_millis() / QUICK.between.as_millis()) as usize;
        assert!(provider.asked.load(Ordering::SeqCst) <= most, "the provider was asked too often");
    }

    #[tokio::test]
    async fn a_withdrawn_key_goes_though_nobody_names_another() {
        let (keys, provider) = start(QUICK).await;
        keys.find("a").await.expect("known");
        provider.has_rotated.store(true, Ordering::SeqCst);
        let poll = async {
            tokio::select! {
                () = keys.poll() => {}
                () = async { while keys.known("d").is_none() { sleep(Duration::from_millis(5)).await } } => {}
            }
        };
        timeout(Duration::from_secs(20), poll).await.expect("it is polled");
        assert!(keys.known("a").is_none());
    }

    #[tokio::test]
    async fn a_provider_that_failed_is_asked_again_and_not_by_each() {
        let (keys, provider) = start(QUICK).await;
        provider.fails.store(1, Ordering::SeqCst);
        assert!(matches!(keys.find("a").await, Err(ProviderKeysError::Unreachable(_))));
        assert!(keys.find("a").await.is_ok());

        let (keys, provider) = start(PACE).await;
        provider.fails.store(usize::MAX, Ordering::SeqCst);
        for _ in 0..5 {
            assert!(matches!(keys.find("a").await, Err(ProviderKeysError::Unreachable(_))));
        }
        assert_eq!(provider.asked.load(Ordering::SeqCst), 1, "its failure is the answer for a second");
    }
}
