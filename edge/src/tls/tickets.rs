//! Session tickets whose keys are kept: a client resumes after a restart of the edge, and at another edge that reads the
//! same file. rustls' own keys die with the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;

/// A key encrypts tickets for this long and decrypts them for as long again: who steals one reads at most a day of what
/// TLS 1.2 clients sent (RFC 9325, section 3.4).
const ROTATION: Duration = Duration::from_hours(12);
/// What is known of a key in the clear: which it is.
const NAME_LEN: usize = 8;
const SECRET_LEN: usize = 32;

/// Makes and reads tickets: `key's name ‖ nonce ‖ ciphertext ‖ tag`, ChaCha20-Poly1305.
pub struct Tickets {
    file: Option<PathBuf>,
    /// The newest first.
    keys: ArcSwap<Vec<Key>>,
    random: SystemRandom,
}

struct Key {
    made: SystemTime,
    name: [u8; NAME_LEN],
    secret: [u8; SECRET_LEN],
    aead: LessSafeKey,
}

impl Tickets {
    /// Tickets with the keys of `file`, which is made where it isn't there; without a file, with keys of this process's
    /// own.
    pub fn open(file: Option<&Path>) -> io::Result<Arc<Self>> {
        let tickets =
            Self { file: file.map(Path::to_owned), keys: ArcSwap::default(), random: SystemRandom::new() };
        tickets.rotate(SystemTime::now())?;
        Ok(Arc::new(tickets))
    }

    /// Takes over the keys that another edge has made, makes a new one when the newest is old, and forgets those that no
    /// ticket is valid with any more. Blocks on the file's lock. Where the file fails, the keys change all the same, and
    /// are this process's own.
    pub fn rotate(&self, now: SystemTime) -> io::Result<()> {
        let shared = self.file.as_deref().map(|file| self.rotate_file(file, now)).transpose();
        let (keys, result) = match shared {
            Ok(Some(keys)) => (keys, Ok(())),
            Ok(None) | Err(_) => {
                let mut keys: Vec<Key> = self.keys.load().iter().map(Key::copy).collect();
                self.renew(&mut keys, now)?;
                (keys, shared.map(drop))
            }
        };
        self.keys.store(Arc::new(keys));
        result
    }

    fn rotate_file(&self, file: &Path, now: SystemTime) -> io::Result<Vec<Key>> {
        // Edges that share the file must not each make a key.
        let lock = private(&file.with_extension("lock"))?;
        lock.lock()?;
        let text = match std::fs::read(file) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let mut keys: Vec<Key> = text.lines().filter_map(Key::parse).collect();
        keys.sort_by_key(|key| std::cmp::Reverse(key.made));
        if self.renew(&mut keys, now)? {
            write(file, &keys)?;
        }
        Ok(keys)
    }

    /// Whether anything was changed.
    fn renew(&self, keys: &mut Vec<Key>, now: SystemTime) -> io::Result<bool> {
        let before = keys.len();
        // A key from the future is one of a clock that was set back.
        let age = |key: &Key| now.duration_since(key.made).unwrap_or_default();
        keys.retain(|key| age(key) < 2 * ROTATION);
        let is_due = keys.first().is_none_or(|newest| age(newest) >= ROTATION);
        if is_due {
            keys.insert(0, self.make_key(now)?);
        }
        Ok(is_due || keys.len() != before)
    }

    fn make_key(&self, now: SystemTime) -> io::Result<Key> {
        let mut bytes = [0; NAME_LEN + SECRET_LEN];
        self.random.fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
        // The file counts in seconds.
        let made = UNIX_EPOCH + Duration::from_secs(unix_seconds(now));
        Ok(Key::new(made, &bytes).expect("a name and a secret"))
    }
}

/// Puts a new file in the old one's place: nobody reads half of it, and a full disk leaves the old one.
fn write(file: &Path, keys: &[Key]) -> io::Result<()> {
    let text: String = keys.iter().map(Key::line).collect();
    let unfinished = file.with_extension("unfinished");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut new = private(&unfinished)?;
    new.write_all(text.as_bytes())?;
    new.sync_data()?;
    std::fs::rename(&unfinished, file)
}

/// A file of its owner's alone.
fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path)
}

impl Key {
    fn new(made: SystemTime, bytes: &[u8]) -> Option<Self> {
        let (name, secret) = bytes.split_at_checked(NAME_LEN)?;
        let aead = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, secret).ok()?);
        Some(Self { made, name: name.try_into().ok()?, secret: secret.try_into().ok()?, aead })
    }

    fn copy(&self) -> Self {
        let bytes = [self.name.as_slice(), &self.secret].concat();
        Self::new(self.made, &bytes).expect("a key's parts make a key")
    }

    /// `seconds since 1970 SP name and secret in hex`
    fn line(&self) -> String {
        let hex: String = self.name.iter().chain(&self.secret).map(|byte| format!("{byte:02x}")).collect();
        format!("{} {hex}\n", unix_seconds(self.made))
    }

    fn parse(line: &str) -> Option<Self> {
        let (made, hex) = line.split_once(' ')?;
        let made = UNIX_EPOCH.checked_add(Duration::from_secs(made.parse().ok()?))?;
        let digit = |index: usize| hex.get(index..index + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(digit).collect();
        Self::new(made, &bytes?)
    }
}

fn unix_seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(ROTATION.as_secs()).expect("half a day")
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let keys = self.keys.load();
        let key = keys.first()?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).ok()?;
        let mut sealed = plain.to_vec();
        let tag = key.aead.seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(key.name),
            &mut sealed,
        );
        Some([&key.name, nonce.as_slice(), &sealed, tag.ok()?.as_ref()].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_at_checked(NAME_LEN)?;
        let (nonce, sealed) = rest.split_at_checked(NONCE_LEN)?;
        let keys = self.keys.load();
        let key = keys.iter().find(|key| key.name == name)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        key.aead.open_in_place(nonce, Aad::from(key.name), &mut sealed).ok().map(|plain| plain.to_vec())
    }
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tickets").field("file", &self.file).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("ticket-keys");
        (folder, file)
    }

    #[test]
    fn a_ticket_is_read_after_a_restart_and_by_another_edge() {
        let (_folder, file) = file();
        let before = Tickets::open(Some(&file)).expect("a file");
        let ticket = before.encrypt(b"session").expect("a ticket");
        let after = Tickets::open(Some(&file)).expect("a file");
        assert_eq!(after.decrypt(&ticket).as_deref(), Some(b"session".as_slice()));
        let stranger = Tickets::open(None).expect("keys");
        assert_eq!(stranger.decrypt(&ticket), None);
        let mode = std::fs::metadata(&file).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn keys_are_changed_and_forgotten_in_time() {
        for (_folder, file) in [None, Some(file())].map(Option::unzip) {
            let tickets = Tickets::open(file.as_deref()).expect("keys");
            let ticket = tickets.encrypt(b"session").expect("a ticket");
            let now = SystemTime::now();
            tickets.rotate(now + ROTATION).expect("rotated");
            assert!(tickets.decrypt(&ticket).is_some());
            assert_ne!(tickets.encrypt(b"x").expect("a ticket")[..NAME_LEN], ticket[..NAME_LEN]);
            tickets.rotate(now + 2 * ROTATION).expect("rotated");
            assert!(tickets.decrypt(&ticket).is_none());
            assert!(tickets.keys.load().len() <= 2);
        }
    }

    #[test]
    fn where_the_file_fails_keys_change_all_the_same() {
        let (folder, file) = file();
        let tickets = Tickets::open(Some(&file)).expect("a file");
        let ticket = tickets.encrypt(b"session").expect("a ticket");
        drop(folder);
        let now = SystemTime::now();
        assert!(tickets.rotate(now + ROTATION).is_err());
        assert_ne!(tickets.encrypt(b"x").expect("a ticket")[..NAME_LEN], ticket[..NAME_LEN]);
        assert!(tickets.rotate(now + 2 * ROTATION).is_err());
        assert!(tickets.decrypt(&ticket).is_none());
    }

    #[test]
    fn what_is_no_ticket_of_ours_is_nothing() {
        let tickets = Tickets::open(None).expect("keys");
        let ticket = tickets.encrypt(b"session").expect("a ticket");
        for end in 0..ticket.len() {
            assert_eq!(tickets.decrypt(&ticket[..end]), None);
        }
        for index in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[index] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None);
        }
    }

    #[test]
    fn a_torn_file_costs_only_the_line_that_is_torn() {
        let (_folder, file) = file();
        let ticket = Tickets::open(Some(&file)).expect("a file").encrypt(b"x").expect("a ticket");
        let mut text = std::fs::read_to_string(&file).expect("a file");
        text.push_str("17 abc\n\u{e9}\u{e9} 00\n99999999999999999999 00");
        std::fs::write(&file, text).expect("written");
        assert!(Tickets::open(Some(&file)).expect("a file").decrypt(&ticket).is_some());
    }
}
