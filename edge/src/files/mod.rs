//! Static files: a folder's files under the same path, and nothing from outside the folder.
//!
//! ```text
//! path ─ cache ─ (disk: find, read or encode) ─ the coding that is accepted ─ conditions ─ range ─ body, by chunks
//! ```

mod answer;
mod body;
mod cache;
mod conditions;
mod disk;
mod names;
pub mod range;
mod stored;

use std::fs::File;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

pub use body::Body;

use self::cache::{Cache, Known};
use self::disk::{Disk, Missing, find};
use self::stored::{Entry, Trouble, Variant};
use crate::compression::{Accepted, Chosen, Encoders, VARY};
use crate::config::{CompressionPolicy, FileFolder};
use crate::problem::Problem;

/// A file is kept in memory if it takes no more than this part of what all may take.
const HOT_PART: usize = 8;
/// A file that changes each time that it is looked at isn't served.
const TRIES: usize = 3;

/// What is kept of files, and whose turn it is to read them.
#[derive(Debug)]
pub struct Files {
    cache: Arc<Cache>,
    disk: Arc<Disk>,
    encoders: Arc<Encoders>,
}

/// What holds for a request by the policy.
#[derive(Clone, Copy, Debug)]
pub struct Settings<'a> {
    /// Where its files are.
    pub files: &'a FileFolder,
    /// What small files in memory may take.
    pub memory_bytes: usize,
    /// How they are compressed; `None`: only files that lie there compressed are sent so.
    pub compression: Option<&'a CompressionPolicy>,
    /// Whether a folder without a slash at its end is a redirect to the one with: below the route's path, policy and route of
    /// both are the same.
    pub may_redirect: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// With which method.
    pub method: &'a Method,
    /// The canonical path.
    pub path: &'a str,
    /// The query as it came.
    pub query: Option<&'a str>,
    /// The fields.
    pub headers: &'a HeaderMap,
}

/// An answer.
#[derive(Debug)]
pub struct Served {
    /// 200, 206, 304 or 308.
    pub status: StatusCode,
    /// All fields that are the file's.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What is sent; empty for HEAD.
    pub body: Body,
}

/// An answer without the file.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub problem: Problem,
    /// What belongs to its status.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A representation that is to be sent, and its file where it is read from there.
struct Held {
    variant: Arc<Variant>,
    file: Option<File>,
    varies: bool,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unheld {
    Missing(Missing),
    NotAcceptable,
    Changing,
}

impl Files {
    /// Nothing is kept yet.
    pub fn new(encoders: Arc<Encoders>) -> Self {
        Self { cache: Arc::default(), disk: Arc::default(), encoders }
    }

    /// The answer to a request.
    pub async fn serve(&self, settings: &Settings<'_>, asked: &Asked<'_>) -> Result<Served, Refused> {
        if !matches!(*asked.method, Method::GET | Method::HEAD) {
            let allow = (header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Err(Refused { problem: Problem::method_not_allowed(), headers: vec![allow] });
        }
        let accepted = Accepted::of(asked.headers);
        let mut held = self.hold(settings, asked.path, &accepted).await;
        if let (Err(Unheld::Missing(Missing::Nothing)), Some(page)) = (&held, &settings.files.fallback)
            && answer::is_for_a_page(asked)
        {
            held = self.hold(settings, page, &accepted).await;
        }
        match held {
            Ok(held) => answer::with_file(asked, held, &self.disk),
            Err(unheld) => answer::without_file(asked, unheld),
        }
    }

    /// What is in memory and fresh costs a look into a map; all else is the disk's work, done together.
    async fn hold(&self, settings: &Settings<'_>, path: &str, accepted: &Accepted) -> Result<Held, Unheld> {
        let folder = &settings.files.folder;
        let known = match self.cache.get(folder, path) {
            Known::Nothing => None,
            Known::Stale(entry) => Some(entry),
            Known::Fresh(entry) => match held(&entry, settings, accepted) {
                Some(held) => return held,
                None => Some(entry),
            },
        };
        let search = Search {
            files: settings.files.clone(),
            compression: settings.compression.cloned(),
            memory_bytes: settings.memory_bytes,
            may_redirect: settings.may_redirect,
            path: path.to_owned(),
            accepted: *accepted,
            known: known.clone(),
            cache: Arc::clone(&self.cache),
            encoders: Arc::clone(&self.encoders),
        };
        let searched = self.disk.run(move || search.run()).await;
        match searched.unwrap_or(Err(Unheld::Changing)) {
            Ok((entry, held)) => {
                let is_new = known.as_ref().is_none_or(|known| !Arc::ptr_eq(known, &entry));
                if is_new && entry.has_content() {
                    self.cache.put(folder, path, entry, settings.memory_bytes);
                } else if is_new && known.is_some() {
                    self.cache.remove(folder, path);
                }
                Ok(held)
            }
            Err(unheld) => {
                if unheld != Unheld::NotAcceptable && known.is_some() {
                    self.cache.remove(folder, path);
                }
                Err(unheld)
            }
        }
    }
}

impl Settings<'_> {
    fn hot_bytes(&self) -> u64 {
        (self.memory_bytes / HOT_PART) as u64
    }
}

/// What is in memory for this client; `None` where the disk has to be asked.
fn held(entry: &Arc<Entry>, settings: &Settings<'_>, accepted: &Accepted) -> Option<Result<Held, Unheld>> {
    // Kept for a route that doesn't redirect.
    if entry.found.lacks_slash && settings.may_redirect {
        return None;
    }
    let coding = match accepted.choose(entry.offered(settings)) {
        Chosen::Nothing => return Some(Err(Unheld::NotAcceptable)),
        Chosen::Identity => None,
        Chosen::Coded(coding) => Some(coding),
    };
    let variant = entry.variant(coding).filter(|variant| variant.content.is_some())?;
    let varies = entry.offered(settings).next().is_some();
    Some(Ok(Held { variant: Arc::clone(variant), file: None, varies }))
}

/// A look at the disk, with all that it needs to go there.
struct Search {
    files: FileFolder,
    compression: Option<CompressionPolicy>,
    memory_bytes: usize,
    may_redirect: bool,
    path: String,
    accepted: Accepted,
    known: Option<Arc<Entry>>,
    cache: Arc<Cache>,
    encoders: Arc<Encoders>,
}

impl Search {
    fn run(&self) -> Result<(Arc<Entry>, Held), Unheld> {
        let settings = Settings {
            files: &self.files,
            memory_bytes: self.memory_bytes,
            compression: self.compression.as_ref(),
            may_redirect: self.may_redirect,
        };
        for _ in 0..TRIES {
            match self.once(&settings) {
                Err(Trouble::Changed) => {}
                Err(Trouble::Unreadable) => return Err(Unheld::Missing(Missing::Nothing)),
                Ok(found) => return found,
            }
        }
        Err(Unheld::Changing)
    }

    fn once(&self, settings: &Settings<'_>) -> Result<Result<(Arc<Entry>, Held), Unheld>, Trouble> {
        let found = match find(&settings.files.folder, &self.path, settings.may_redirect) {
            Ok(found) => found,
            Err(missing) => return Ok(Err(Unheld::Missing(missing))),
        };
        let same = self.known.as_ref().filter(|known| known.found == found);
        let entry = same.map_or_else(|| Arc::new(Entry::new(found)), Arc::clone);
        if let Some(held) = held(&entry, settings, &self.accepted) {
            return Ok(held.map(|held| (entry, held)));
        }
        let coding = match self.accepted.choose(entry.offered(settings)) {
            Chosen::Coded(coding) => Some(coding),
            Chosen::Identity | Chosen::Nothing => None,
        };
        let (coding, (variant, file)) = match entry.load(coding, settings, &self.cache, &self.encoders) {
            // No room for an encoder, say: then it is sent as it is, and the next one may have more luck.
            Err(Trouble::Unreadable) if coding.is_some() => {
                (None, entry.load(None, settings, &self.cache, &self.encoders)?)
            }
            loaded => (coding, loaded?),
        };
        let held =
            Held { variant: Arc::new(variant), file, varies: entry.offered(settings).next().is_some() };
        let is_kept = held.variant.content.is_some();
        let entry = if is_kept { Arc::new(entry.with(coding, Arc::clone(&held.variant))) } else { entry };
        Ok(Ok((entry, held)))
    }
}

#[cfg(test)]
mod tests;
