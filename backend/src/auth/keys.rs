//! The keys that access tokens are signed with: Ed25519, one PKCS #8 PEM file a key, named by its key id, a UUIDv7, which says
//! when it was made. Both backends read the same folder again and again, and the files and the clock say it all:
//!
//! ```text
//! made ── published ── after `lead` ── signs ── the next one signs ── its last token ends ── published no more
//! ```
//!
//! So every verifier knows a key before it is used, and none is missed while a token of it lives.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use access_token::{KeySet, PublicKey, jwks_document};
use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use jsonwebtoken::EncodingKey;
use secrecy::zeroize::Zeroizing;
use uuid::Uuid;

use crate::auth::tokens::AccessTokens;
use crate::clock::EpochMillis;
use crate::config::KeySchedule;

/// What is left of a key's last token's life after it by anybody's clock.
const MARGIN: Duration = Duration::from_secs(60);

/// How often the folder is read again.
const READ_EVERY: Duration = Duration::from_secs(5);

/// The keys of a folder that count.
pub struct SigningKeys {
    /// The id of the key that signs.
    pub kid: String,
    /// The key that signs.
    pub encoding: EncodingKey,
    /// The public halves of all keys.
    pub public: KeySet,
    /// The public halves as the JWK Set document that is published.
    pub jwks: String,
}

/// Makes the first key, if the folder holds none; returns its id. Safe when run twice at once.
pub fn init(dir: &Path) -> anyhow::Result<Option<String>> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("making {}", dir.display()))?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))?;
    let _lock = lock(dir)?;
    if key_files(dir)?.is_empty() { make(dir).map(Some) } else { Ok(None) }
}

/// Makes the next key, and removes those whose last token has ended; returns the new one's id and when it will sign. Fails
/// while another is on its way: rotated twice at once, the keys would change sooner than everybody can learn of them.
pub fn rotate(dir: &Path, schedule: KeySchedule) -> anyhow::Result<(String, EpochMillis)> {
    let _lock = lock(dir)?;
    let now = EpochMillis::now();
    let files = key_files(dir)?;
    let newest = files.last().with_context(|| format!("{} holds no signing key yet", dir.display()))?;
    let signs_at = newest.made_at.plus(schedule.lead);
    ensure!(
        files.len() == 1 || signs_at <= now,
        "the key {} is on its way: it signs from {} on",
        newest.kid,
        signs_at
    );
    let (counting, _) = choose(&files, schedule, now);
    for file in &files[..counting.start] {
        fs::remove_file(&file.path).with_context(|| format!("removing {}", file.path.display()))?;
    }
    Ok((make(dir)?, now.plus(schedule.lead)))
}

fn lock(dir: &Path) -> anyhow::Result<File> {
    let lock = File::create(dir.join(".lock")).with_context(|| format!("opening {}", dir.display()))?;
    lock.lock()?;
    Ok(lock)
}

fn make(dir: &Path) -> anyhow::Result<String> {
    let mut seed = Zeroizing::new([0_u8; 32]);
    rand::fill(&mut *seed);
    let pem = SigningKey::from_bytes(&seed).to_pkcs8_pem(LineEnding::LF).context("encoding the key")?;
    let kid = Uuid::now_v7().to_string();
    let path = dir.join(format!("{kid}.pem"));
    // Written under another name first: a reader never sees half a key.
    let unfinished = dir.join(format!("{kid}.unfinished"));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&unfinished)?;
    file.write_all(pem.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, &path).with_context(|| format!("writing {}", path.display()))?;
    Ok(kid)
}

impl SigningKeys {
    /// Reads the folder, as it counts now.
    pub fn load(dir: &Path, schedule: KeySchedule) -> anyhow::Result<Self> {
        Self::load_at(dir, schedule, EpochMillis::now())
    }

    fn load_at(dir: &Path, schedule: KeySchedule, now: EpochMillis) -> anyhow::Result<Self> {
        let files = key_files(dir)?;
        ensure!(!files.is_empty(), "{} holds no signing key: `backend keys init` makes one", dir.display());
        let (counting, signing) = choose(&files, schedule, now);
        let mut public = Vec::new();
        let mut encoding = None;
        for index in counting {
            let KeyFile { path, kid, .. } = &files[index];
            let context = || format!("reading the signing key {}", path.display());
            let pem = Zeroizing::new(fs::read_to_string(path).with_context(context)?);
            let key = SigningKey::from_pkcs8_pem(&pem).map_err(anyhow::Error::msg).with_context(context)?;
            public.push(PublicKey::ed25519(kid, URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes())));
            if index == signing {
                encoding = Some(EncodingKey::from_ed_pem(pem.as_bytes()).with_context(context)?);
            }
        }
        let jwks = jwks_document(&public);
        let public = KeySet::from_jwks(jwks.as_bytes()).context("the published keys")?;
        let encoding = encoding.expect("the signing key is one of those that count");
        Ok(Self { kid: files[signing].kid.clone(), encoding, public, jwks })
    }
}

/// Reads the folder again and again, for as long as it is run. What can't be read changes nothing.
pub async fn follow(dir: PathBuf, schedule: KeySchedule, tokens: AccessTokens) {
    let mut was_read = true;
    loop {
        tokio::time::sleep(READ_EVERY.min(schedule.lead / 4)).await;
        let dir = dir.clone();
        let read = tokio::task::spawn_blocking(move || SigningKeys::load(&dir, schedule)).await;
        let read = read.map_err(anyhow::Error::from).flatten();
        let is_read = read.is_ok();
        match read {
            Ok(keys) => tokens.replace_keys(keys),
            Err(error) if was_read => {
                tracing::error!(
                    error = format!("{error:#}"),
                    "the signing keys can't be read: the last ones stay"
                );
            }
            Err(_) => {}
        }
        was_read = is_read;
    }
}

struct KeyFile {
    path: PathBuf,
    kid: String,
    made_at: EpochMillis,
}

/// The key files, oldest first.
fn key_files(dir: &Path) -> anyhow::Result<Vec<KeyFile>> {
    let entries = fs::read_dir(dir).with_context(|| format!("reading {}", dir.display()))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "pem") {
            let kid = path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
            let kid = kid.with_context(|| format!("the name of {}", path.display()))?;
            files.push(KeyFile { made_at: made_at(&kid), kid, path });
        }
    }
    files.sort_by(|a, b| (a.made_at, &a.kid).cmp(&(b.made_at, &b.kid)));
    Ok(files)
}

/// A name of somebody's own says no time: such a key is older than all of ours.
fn made_at(kid: &str) -> EpochMillis {
    let timestamp = Uuid::try_parse(kid).ok().and_then(|id| id.get_timestamp());
    timestamp.map_or(EpochMillis(0), |timestamp| {
        let (seconds, nanos) = timestamp.to_unix();
        EpochMillis(i64::try_from(seconds * 1000 + u64::from(nanos) / 1_000_000).unwrap_or(0))
    })
}

/// Which files count now, and which of them signs.
fn choose(files: &[KeyFile], schedule: KeySchedule, now: EpochMillis) -> (Range<usize>, usize) {
    // The first key of all has nobody to wait for.
    let signs_at = |index: usize| match index {
        0 => EpochMillis(0),
        _ => files[index].made_at.plus(schedule.lead),
    };
    let signing = (0..files.len()).rev().find(|index| signs_at(*index) <= now).unwrap_or(0);
    let outlived = schedule.token_life + MARGIN;
    let first = (0..signing).find(|index| now < signs_at(index + 1).plus(outlived)).unwrap_or(signing);
    (first..files.len(), signing)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const SCHEDULE: KeySchedule =
        KeySchedule { lead: Duration::from_secs(360), token_life: Duration::from_secs(900) };

    #[test]
    fn a_key_is_published_before_it_signs_and_until_its_last_token_has_ended() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let first = init(folder.path()).expect("made").expect("the first");
        let (second, signs_at) = rotate(folder.path(), SCHEDULE).expect("rotated");
        let at = |time: EpochMillis| {
            let keys = SigningKeys::load_at(folder.path(), SCHEDULE, time).expect("loads");
            (keys.kid.clone(), keys.public.contains(&first), keys.public.contains(&second))
        };
        let now = EpochMillis::now();
        assert_eq!(at(now), (first.clone(), true, true));
        assert_eq!(at(now.plus(5 * MINUTE)), (first.clone(), true, true));
        assert_eq!(at(signs_at.plus(MINUTE)), (second.clone(), true, true));
        assert_eq!(at(signs_at.plus(15 * MINUTE)), (second.clone(), true, true));
        assert_eq!(at(signs_at.plus(17 * MINUTE)), (second.clone(), false, true));
    }

    #[test]
    fn two_rotations_at_once_are_one_too_many_and_old_keys_go() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let quick = KeySchedule { lead: Duration::ZERO, token_life: Duration::ZERO };
        init(folder.path()).expect("made");
        rotate(folder.path(), SCHEDULE).expect("rotated");
        let error = rotate(folder.path(), SCHEDULE).expect_err("too soon");
        assert!(error.to_string().contains("on its way"), "{error}");
        // Its tokens may still be about for a minute.
        rotate(folder.path(), quick).expect("rotated");
        assert_eq!(key_files(folder.path()).expect("read").len(), 3);
    }

    #[test]
    fn a_key_with_a_name_of_somebodys_own_counts_as_the_oldest() {
        assert_eq!(made_at("key-1"), EpochMillis(0));
        assert!(made_at(&Uuid::now_v7().to_string()) > EpochMillis(1_700_000_000_000));
    }

    #[test]
    fn the_first_key_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let dir = folder.path().join("keys");
        let kid = init(&dir).expect("made").expect("the first");
        assert_eq!(init(&dir).expect("left alone"), None);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!(mode(&dir), 0o700);
        assert_eq!(mode(&dir.join(format!("{kid}.pem"))), 0o600);
        let keys = SigningKeys::load(&dir, SCHEDULE).expect("loads");
        assert_eq!(keys.kid, kid);
        assert!(keys.public.contains(&kid) && keys.jwks.contains(&kid));
    }

    #[test]
    fn a_folder_without_keys_is_an_error_that_says_what_to_do() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let error = SigningKeys::load(folder.path(), SCHEDULE).err().expect("no key");
        assert!(error.to_string().contains("keys init"), "{error}");
    }
}
