//! The servers behind the contestants: two ports of a process of its own, which answer with 1 KB each.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::{env, fs, thread};

use access_token::{KeySet, Revocations, VerifiedTokens, Verifier};
use anyhow::Context;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::oneshot;

use crate::child::Owned;
use crate::{open_files, terminal, token};

/// Asked by who checks health.
pub(super) const HEALTH: &str = "/health";
/// The public keys of the tokens.
pub(super) const JWKS: &str = "/.well-known/jwks.json";
/// Verifies a request's token: for a contestant that has it done elsewhere.
pub(super) const TOKEN_CHECK: &str = "/token-check";
/// What a contestant is asked for.
pub(super) const PAGE: &str = "/page";
const PAGE_BYTES: usize = 1_024;
/// The two of a contestant's requests, and more of its checks.
const REMEMBERED: usize = 1_024;

/// What `race-upstreams` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The public keys.
    #[arg(long)]
    jwks: PathBuf,
    /// Remember tokens that were verified.
    #[arg(long)]
    remember_tokens: bool,
}

/// The page, byte for byte.
pub(super) fn page() -> Bytes {
    b"0123456789abcdef".iter().copied().cycle().take(PAGE_BYTES).collect()
}

/// The process, and where it listens.
pub(super) struct Upstreams {
    process: Owned,
    pub(super) ports: [u16; 2],
}

impl Upstreams {
    /// Starts it. It ends with this process, however that ends.
    pub(super) fn start(jwks: &Path, remember_tokens: bool) -> anyhow::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("race-upstreams").arg("--jwks").arg(jwks);
        if remember_tokens {
            command.arg("--remember-tokens");
        }
        let mut process = Owned::start(command.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let output = process.child().stdout.take().context("the upstreams have no output")?;
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line)?;
        let ports = serde_json::from_str(&line).context("the upstreams don't say where they are")?;
        Ok(Self { process, ports })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Serves until standard input ends.
pub(crate) fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    open_files::raise()?;
    let site = Arc::new(Site::new(arguments)?);
    let (told, stop) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        told.send(())
    });
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let (first, second) =
            (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let ports = [first.local_addr()?.port(), second.local_addr()?.port()];
        terminal::say(&serde_json::to_string(&ports)?);
        tokio::select! {
            () = listen(first, &site) => {}
            () = listen(second, &site) => {}
            _ = stop => {}
        }
        Ok(())
    })
}

async fn listen(listener: TcpListener, site: &Arc<Site>) {
    loop {
        // Out of files for a moment, at worst: the contestant notices that it has no connection.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let site = Arc::clone(site);
        let service = service_fn(move |request| {
            let answer = site.answer(&request);
            async { Ok::<_, Infallible>(answer) }
        });
        // Ends with its client, and with this process.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    }
}

struct Site {
    page: Bytes,
    jwks: Bytes,
    keys: KeySet,
    revocations: Revocations,
    verifier: Verifier,
    /// None if each token is verified anew.
    verified: Option<VerifiedTokens>,
}

impl Site {
    fn new(arguments: &Arguments) -> anyhow::Result<Self> {
        let jwks = fs::read(&arguments.jwks)
            .with_context(|| format!("{} can't be read", arguments.jwks.display()))?;
        let verifier = || Verifier::new(token::ISSUER, token::ISSUER);
        Ok(Self {
            page: page(),
            keys: KeySet::from_jwks(&jwks)?,
            jwks: jwks.into(),
            revocations: Revocations::default(),
            verifier: verifier(),
            verified: arguments.remember_tokens.then(|| VerifiedTokens::new(verifier(), REMEMBERED)),
        })
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, kind, body) = match request.uri().path() {
            TOKEN_CHECK if self.is_verified(request.headers().get(AUTHORIZATION)) => {
                (StatusCode::OK, "text/plain", Bytes::new())
            }
            TOKEN_CHECK => (StatusCode::UNAUTHORIZED, "text/plain", Bytes::new()),
            HEALTH => (StatusCode::OK, "text/plain", Bytes::from_static(b"ready")),
            JWKS => (StatusCode::OK, "application/json", self.jwks.clone()),
            _ => (StatusCode::OK, "text/plain", self.page.clone()),
        };
        let mut answer = Response::new(Full::new(body));
        *answer.status_mut() = status;
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        answer
    }

    fn is_verified(&self, field: Option<&HeaderValue>) -> bool {
        let token = field.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
        token.is_some_and(|token| match &self.verified {
            None => self.verifier.verify(&self.keys, token).is_ok(),
            Some(verified) => verified.verify(&self.keys, &self.revocations, token).is_ok(),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::race::tokens::{Algorithm, Quality, Tokens};

    #[test]
    fn a_token_is_verified_each_time_and_when_it_is_remembered() {
        let tokens = Tokens::new().expect("keys");
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(tokens.jwks().as_bytes()).expect("a set");
        for remember_tokens in [false, true] {
            let arguments = Arguments { jwks: file.path().to_owned(), remember_tokens };
            let site = Site::new(&arguments).expect("a site");
            let is_verified = |quality| {
                let token = tokens.issue(Algorithm::EdDsa, quality).expect("a token");
                let field = HeaderValue::from_str(&format!("Bearer {token}")).expect("a field");
                site.is_verified(Some(&field)) && site.is_verified(Some(&field))
            };
            assert!(is_verified(Quality::Good));
            assert!(!is_verified(Quality::Forged));
            assert!(!site.is_verified(None));
        }
        assert_eq!(page().len(), PAGE_BYTES);
    }
}
