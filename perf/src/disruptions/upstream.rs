//! A server behind the edge, in a process of its own: two ports, JSON, and a WebSocket that echoes. It can be killed,
//! stopped and started again at the same ports.

use std::convert::Infallible;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::{env, fs};

use anyhow::{Context, ensure};
use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::child::{Owned, signal, tied};
use crate::disruptions::load::{SOCKET, small_buffers};
use crate::{open_files, terminal};

/// The public keys of tokens.
const JWKS: &str = "/.well-known/jwks.json";
/// What it says once it listens.
const READY: &str = "ready";

/// What `disruption-upstream` is told.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Which one it is: the first that it says to each WebSocket.
    #[arg(long)]
    number: usize,
    /// Its port for requests.
    #[arg(long)]
    api: u16,
    /// Its port for health checks.
    #[arg(long)]
    management: u16,
    /// The public keys.
    #[arg(long)]
    jwks: PathBuf,
}

/// The process, and where it listens. Killed when it is dropped.
pub(super) struct Upstream {
    number: usize,
    pub(super) api: u16,
    pub(super) management: u16,
    jwks: PathBuf,
    /// None while it is killed.
    process: Option<Owned>,
}

impl Upstream {
    /// Starts number `number` and waits until it listens.
    pub(super) fn start(number: usize, [api, management]: [u16; 2], jwks: &Path) -> anyhow::Result<Self> {
        let mut upstream = Self { number, api, management, jwks: jwks.to_owned(), process: None };
        upstream.start_again()?;
        Ok(upstream)
    }

    /// Starts it at the same ports after it was killed.
    pub(super) fn start_again(&mut self) -> anyhow::Result<()> {
        let mut command = tied(&env::current_exe()?, "KILL");
        command.arg("disruption-upstream").arg("--jwks").arg(&self.jwks);
        for (name, value) in [("--api", self.api), ("--management", self.management)] {
            command.arg(name).arg(value.to_string());
        }
        command.arg("--number").arg(self.number.to_string()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = Owned::start(&mut command)?;
        let output = process.child().stdout.take().context("a server has no output")?;
        // Its word, as somebody else may listen there already; none if it ends.
        let mut word = String::new();
        BufReader::new(output).read_line(&mut word)?;
        ensure!(word.trim() == READY, "server {} doesn't listen", self.number);
        self.process = Some(process);
        Ok(())
    }

    /// Ends it as a crash does.
    pub(super) fn kill(&mut self) -> anyhow::Result<()> {
        let mut process = self.process.take().context("it doesn't run")?;
        process.child().kill().context("a child of ours")?;
        process.child().wait().context("a child of ours")?;
        Ok(())
    }

    /// Takes its time away; its connections stay open.
    pub(super) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    /// Gives it back.
    pub(super) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, what: Signal) {
        if let Some(process) = &self.process {
            signal(process.pid(), what);
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        // One that is stopped hears nothing else.
        let _ = self.process.is_some().then(|| self.kill());
    }
}

/// Serves until it is killed.
pub(crate) fn serve(arguments: &Arguments) -> anyhow::Result<()> {
    open_files::raise()?;
    let jwks = fs::read(&arguments.jwks).with_context(|| arguments.jwks.display().to_string())?;
    let site = Arc::new(Site { number: arguments.number, jwks: jwks.into() });
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        // The edge asks the second one whether the first is ready.
        let api = TcpListener::bind(("127.0.0.1", arguments.api)).await?;
        let management = TcpListener::bind(("127.0.0.1", arguments.management)).await?;
        terminal::say(READY);
        tokio::join!(listen(api, &site), listen(management, &site));
        Ok(())
    })
}

async fn listen(listener: TcpListener, site: &Arc<Site>) {
    loop {
        // Out of files for a moment, at worst: the edge notices that it has no connection.
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let site = Arc::clone(site);
        let service = service_fn(move |request| {
            let answer = site.answer(request);
            async { Ok::<_, Infallible>(answer) }
        });
        // Ends with its client, and with this process.
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades());
    }
}

struct Site {
    number: usize,
    jwks: Bytes,
}

impl Site {
    fn answer(&self, mut request: Request<Incoming>) -> Response<Full<Bytes>> {
        let body = match request.uri().path() {
            SOCKET => {
                let Some(key) = request.headers().get(SEC_WEBSOCKET_KEY) else {
                    return status(StatusCode::BAD_REQUEST);
                };
                let accept = derive_accept_key(key.as_bytes());
                tokio::spawn(echo(on(&mut request), self.number));
                return agree(&accept);
            }
            JWKS => self.jwks.clone(),
            _ => Bytes::from_static(br#"{"items":[],"status":"UP"}"#),
        };
        let mut answer = Response::new(Full::new(body));
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        answer
    }
}

fn status(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

fn agree(accept: &str) -> Response<Full<Bytes>> {
    let mut answer = status(StatusCode::SWITCHING_PROTOCOLS);
    let fields = answer.headers_mut();
    fields.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    fields.insert(UPGRADE, HeaderValue::from_static("websocket"));
    let accept = HeaderValue::from_str(accept).expect("base64 is text");
    fields.insert(SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

/// Says who it is, and then all that it hears.
async fn echo(upgrade: OnUpgrade, number: usize) {
    let Ok(upgraded) = upgrade.await else { return };
    let io = TokioIo::new(upgraded);
    let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(small_buffers())).await;
    let mut said = socket.send(Message::text(number.to_string())).await;
    while said.is_ok() {
        said = match socket.next().await {
            Some(Ok(message)) if message.is_text() => socket.send(message).await,
            // Pings and closes are answered by the library.
            Some(Ok(_)) => Ok(()),
            Some(Err(_)) | None => return,
        };
    }
}
