//! How one edge takes over from another without a closed door: the running one offers its listening sockets at a Unix
//! socket (SCM_RIGHTS, unix(7)); the new one asks for them, says when it serves, and only then does the old one stop
//! accepting. Until that word the old one goes on as if nothing had been asked.
//!
//! ```text
//! new ── connect ──► old
//! new ◄─ sockets ─── old
//! new ── "ready" ──► old: drains and leaves        new: offers the sockets in its turn
//! ```

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use tokio::net::UnixListener;

use super::listeners::Listeners;

/// What is sent along with the sockets, in their order; another version would say something else.
const GREETING: &[u8] = b"daemun 1: https http admin\n";
const SOCKETS: usize = 3;
const READY: &[u8] = b"ready\n";
/// How long the other side may take for its next word: a new edge reads its policy and asks the backends meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// An edge that has taken the sockets of another and hasn't said yet that it serves.
#[derive(Debug)]
pub(super) struct Successor {
    old: UnixStream,
}

impl Successor {
    /// Asks the edge that offers its sockets at `path` for them.
    pub(super) fn take_over(path: &Path) -> anyhow::Result<(Self, Listeners)> {
        let old = UnixStream::connect(path)
            .with_context(|| format!("no edge offers its sockets at {}", path.display()))?;
        old.set_read_timeout(Some(PATIENCE))?;
        let listeners = receive(&old).context("the running edge gives no sockets")?;
        Ok((Self { old }, listeners))
    }

    /// From now on both serve, and the old one leaves.
    pub(super) fn serves(mut self) -> io::Result<()> {
        self.old.write_all(READY)
    }
}

fn receive(old: &UnixStream) -> anyhow::Result<Listeners> {
    let mut text = [0; GREETING.len()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(old, &mut [IoSliceMut::new(&mut text)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    ensure!(text[..received.bytes] == *GREETING, "it is of a version that this one doesn't know");
    let mut sockets = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            sockets.extend(files.map(TcpListener::from));
        }
    }
    let [https, http, admin] =
        sockets.try_into().map_err(|_| anyhow::anyhow!("expected {SOCKETS} sockets"))?;
    Ok(Listeners { https, http, admin })
}

/// The place where a running edge waits for its successor.
pub(super) struct Offer {
    path: PathBuf,
    socket: UnixListener,
    listeners: Listeners,
}

impl Offer {
    /// Offers the sockets at `path`, to processes of the same user only. Whoever offered theirs there before doesn't any
    /// more.
    pub(super) fn open(path: &Path, listeners: Listeners) -> io::Result<Self> {
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        let _ = std::fs::remove_file(&beside);
        let socket = UnixListener::bind(&beside)?;
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o600))?;
        // In one step: there is no moment at which nobody can be asked.
        std::fs::rename(&beside, path)?;
        Ok(Self { path: path.to_owned(), socket, listeners })
    }

    /// Ends once a successor serves.
    pub(super) async fn taken(&self) {
        loop {
            match self.socket.accept().await {
                Ok((asking, _)) => match self.give(asking).await {
                    Ok(()) => return,
                    Err(error) => tracing::warn!(%error, "no successor came of it: this edge goes on"),
                },
                Err(error) => {
                    tracing::warn!(%error, "a successor can't be heard");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }

    /// Gives the sockets away and waits for the word that they are served.
    async fn give(&self, asking: tokio::net::UnixStream) -> io::Result<()> {
        let asking = asking.into_std()?;
        let is_ours = socket_peercred(&asking)?.uid == rustix::process::geteuid();
        if !is_ours {
            return Err(ErrorKind::PermissionDenied.into());
        }
        let Listeners { https, http, admin } = self.listeners.try_clone()?;
        let sockets = [OwnedFd::from(https), OwnedFd::from(http), OwnedFd::from(admin)];
        let given = tokio::task::spawn_blocking(move || give(asking, &sockets)).await;
        given.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Takes the offer back: there is nothing to be had any more.
    pub(super) fn withdraw(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

fn give(mut asking: UnixStream, sockets: &[OwnedFd; SOCKETS]) -> io::Result<()> {
    asking.set_nonblocking(false)?;
    asking.set_read_timeout(Some(PATIENCE))?;
    let files = sockets.each_ref().map(AsFd::as_fd);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SOCKETS))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    sendmsg(&asking, &[IoSlice::new(GREETING)], &mut ancillary, SendFlags::empty())?;
    let mut word = [0; READY.len()];
    asking.read_exact(&mut word)?;
    if word == *READY { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}
