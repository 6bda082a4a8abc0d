//! A file as it is answered: its representations, with all that their headers say made once.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, header};

use super::cache::{Cache, Room};
use super::disk::{Found, Stamp, open};
use super::{Settings, names};
use crate::compression::{self, Encoders};
use crate::config::Coding;

/// A file and what was made of it so far. It never changes: what is added makes another.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) found: Found,
    is_compressible: bool,
    /// As it is, then in the order of [`Coding::ALL`].
    variants: [Option<Arc<Variant>>; 1 + Coding::ALL.len()],
}

/// A representation (RFC 9110, section 8).
#[derive(Debug)]
pub(super) struct Variant {
    pub(super) etag: HeaderValue,
    /// In whole seconds; never ahead of our own clock.
    pub(super) modified: Option<SystemTime>,
    pub(super) length: u64,
    /// What a 304 says too.
    pub(super) fields: Vec<(HeaderName, HeaderValue)>,
    /// What only an answer with the content says.
    pub(super) content_fields: Vec<(HeaderName, HeaderValue)>,
    /// The content; `None` where it is read from the disk each time.
    pub(super) content: Option<Bytes>,
    /// The content's, for as long as anybody has it.
    _room: Option<Room>,
}

/// A content in memory.
type Content = (Bytes, Room);

/// Why a representation can't be had.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The file isn't any more the one that was found.
    Changed,
    /// It can't be read, or encoded now.
    Unreadable,
}

impl From<io::Error> for Trouble {
    fn from(_: io::Error) -> Self {
        Self::Unreadable
    }
}

impl Entry {
    pub(super) fn new(found: Found) -> Self {
        let is_compressible = compression::is_compressible(&names::content_type(&found.file));
        Self { found, is_compressible, variants: Default::default() }
    }

    /// The codings that it can be had in: first those that lie beside it, then those that are made here.
    pub(super) fn offered(&self, settings: &Settings<'_>) -> impl Iterator<Item = Coding> {
        let has_sibling = |coding: Coding| self.found.siblings[coding as usize].is_some();
        let policy = settings.compression.filter(|policy| {
            let lengths = policy.min_bytes..=settings.hot_bytes();
            self.is_compressible && lengths.contains(&self.found.stamp.length)
        });
        let made = policy.into_iter().flat_map(|policy| policy.codings.iter().copied());
        let beside = Coding::ALL.into_iter().filter(move |coding| has_sibling(*coding));
        beside.chain(made.filter(move |coding| !has_sibling(*coding)))
    }

    pub(super) fn variant(&self, coding: Option<Coding>) -> Option<&Arc<Variant>> {
        self.variants[slot(coding)].as_ref()
    }

    /// The same with one more representation.
    pub(super) fn with(&self, coding: Option<Coding>, variant: Arc<Variant>) -> Self {
        let mut entry = self.clone();
        entry.variants[slot(coding)] = Some(variant);
        entry
    }

    /// Whether any content is kept.
    pub(super) fn has_content(&self) -> bool {
        self.variants.iter().any(Option::is_some)
    }

    /// Whether a client is still taking some of it.
    pub(super) fn is_being_sent(&self) -> bool {
        self.variants.iter().flatten().any(|variant| Arc::strong_count(variant) > 1)
    }

    /// A representation, read or made; and the open file where its content isn't kept.
    pub(super) fn load(
        &self,
        coding: Option<Coding>,
        settings: &Settings<'_>,
        cache: &Cache,
        encoders: &Arc<Encoders>,
    ) -> Result<(Variant, Option<File>), Trouble> {
        let source = (self.found.file.as_path(), self.found.stamp);
        let (file, mark) = match coding.map(|coding| (coding, &self.found.siblings[coding as usize])) {
            None => (source, String::new()),
            Some((coding, Some((path, stamp)))) => ((path.as_path(), *stamp), format!("-{}", coding.token())),
            Some((coding, None)) => return Ok((self.encode(coding, settings, cache, encoders)?, None)),
        };
        let mut open = opened(file)?;
        let length = file.1.length;
        let room =
            (length <= settings.hot_bytes()).then(|| cache.room(length as usize, settings.memory_bytes));
        match room.flatten() {
            Some(room) => {
                let content = (read(file.1, &mut open)?, room);
                Ok((self.described(file.1, coding, &mark, Some(content)), None))
            }
            None => Ok((self.described(file.1, coding, &mark, None), Some(open))),
        }
    }

    fn encode(
        &self,
        coding: Coding,
        settings: &Settings<'_>,
        cache: &Cache,
        encoders: &Arc<Encoders>,
    ) -> Result<Variant, Trouble> {
        let (stamp, policy) = (self.found.stamp, settings.compression.ok_or(Trouble::Unreadable)?);
        // For the source too, as long as it is needed; what comes of it is hardly ever longer.
        let room = cache.room(2 * stamp.length as usize, settings.memory_bytes);
        let mut room = room.ok_or(Trouble::Unreadable)?;
        let source = read(stamp, &mut opened((&self.found.file, stamp))?)?;
        let content = encoders.compress(policy, coding, &source).ok_or(Trouble::Unreadable)?;
        room.shrink(content.len());
        // Another level makes other bytes.
        let mark = format!("-{}{}", coding.token(), policy.level);
        Ok(self.described(stamp, Some(coding), &mark, Some((content, room))))
    }

    fn described(
        &self,
        stamp: Stamp,
        coding: Option<Coding>,
        mark: &str,
        content: Option<Content>,
    ) -> Variant {
        let etag = etag(stamp, mark);
        let modified = last_modified(stamp);
        let mut fields = vec![
            (header::ETAG, etag.clone()),
            (header::CACHE_CONTROL, names::cache_control(&self.found.file)),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        ];
        if let Some(text) = modified.map(httpdate::fmt_http_date) {
            fields.push((header::LAST_MODIFIED, HeaderValue::from_str(&text).expect("a date is ASCII")));
        }
        let mut content_fields = vec![
            (header::CONTENT_TYPE, names::content_type(&self.found.file)),
            (header::ACCEPT_RANGES, HeaderValue::from_static("bytes")),
        ];
        if let Some(coding) = coding {
            content_fields.push((header::CONTENT_ENCODING, HeaderValue::from_static(coding.token())));
        }
        let (content, room) = content.unzip();
        let length = content.as_ref().map_or(stamp.length, |content| content.len() as u64);
        Variant { etag, modified, length, fields, content_fields, content, _room: room }
    }
}

fn slot(coding: Option<Coding>) -> usize {
    coding.map_or(0, |coding| 1 + coding as usize)
}

fn opened((path, stamp): (&Path, Stamp)) -> Result<File, Trouble> {
    open(path, stamp)?.ok_or(Trouble::Changed)
}

/// All of it; never more than was found, should it grow meanwhile.
fn read(stamp: Stamp, file: &mut File) -> Result<Bytes, Trouble> {
    let mut content = Vec::with_capacity(usize::try_from(stamp.length).unwrap_or(0));
    file.take(stamp.length).read_to_end(&mut content)?;
    if content.len() as u64 == stamp.length { Ok(content.into()) } else { Err(Trouble::Changed) }
}

/// Changes whenever length or modification time do; each coding has its own.
fn etag(stamp: Stamp, mark: &str) -> HeaderValue {
    let modified = stamp.modified.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let text = format!("\"{:x}-{:x}{mark}\"", stamp.length, modified.as_nanos());
    HeaderValue::from_str(&text).expect("hex digits and plain words make a value")
}

/// RFC 9110, section 8.8.2.1: never later than the answer itself. What lies outside of the years that a date can say, isn't
/// said.
fn last_modified(stamp: Stamp) -> Option<SystemTime> {
    let modified = stamp.modified?.min(SystemTime::now());
    let since = modified.duration_since(UNIX_EPOCH).ok()?;
    Some(UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs()))
}
