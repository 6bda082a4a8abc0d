//! Static files and the compression of answers, as the policy has them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::file;
use super::told::Told;

/// Levels beyond would take an encoder more memory than a small machine has for it.
const MAX_LEVEL: u8 = 3;
/// No encoder takes more at any level.
const LEAST_COMPRESSION_KIB: usize = 1200;
/// 1 GiB.
const MOST_KIB: usize = 1 << 20;

/// A folder that a route's files are in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFolder {
    /// Where it is.
    pub folder: PathBuf,
    /// The page that is served where no file is: the canonical path of a file of the folder.
    pub fallback: Option<String>,
}

/// How answers are compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompressionPolicy {
    /// The codings that are used, those that are liked better first; each once.
    pub codings: Vec<Coding>,
    /// 1, quick, to 3, thorough; an encoder takes the more memory.
    pub level: u8,
    /// Shorter answers stay as they are.
    pub min_bytes: u64,
    /// What all encoders together may take.
    pub memory_bytes: usize,
}

/// A content coding (RFC 9110, section 8.4.1; RFC 7932; RFC 8878).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// `br`
    Brotli,
    /// `zstd`
    Zstd,
    /// `gzip`
    Gzip,
}

impl Coding {
    /// All of them, the one that makes the shortest files first.
    pub const ALL: [Self; 3] = [Self::Brotli, Self::Zstd, Self::Gzip];

    /// As it stands in fields.
    pub fn token(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Zstd => "zstd",
            Self::Gzip => "gzip",
        }
    }
}

pub(super) fn folder(entry: &Spanned<file::Files>, base: &Path, told: &mut Told<'_>) -> Option<FileFolder> {
    let file::Files { folder, fallback } = entry.get_ref();
    let fallback = match fallback {
        Some(name) => Some(told.one(name, file_path)?),
        None => None,
    };
    Some(FileFolder { folder: base.join(folder), fallback })
}

/// `index.html` → `/index.html`; nothing hidden, and nothing that a canonical path could not be.
fn file_path(name: &str) -> Result<String, String> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let is_hidden = |segment: &str| segment.is_empty() || segment.starts_with('.');
    match name.bytes().all(is_plain) && !name.split('/').any(is_hidden) {
        true => Ok(format!("/{name}")),
        false => Err(format!("`{name}` is no file below the folder, such as index.html")),
    }
}

pub(super) fn memory(entry: &Spanned<file::FileMemory>, told: &mut Told<'_>) -> usize {
    let kib = entry.get_ref().memory_kib;
    if kib > MOST_KIB {
        told.about(entry, format!("`memory_kib` is at most {MOST_KIB}"));
    }
    kib.saturating_mul(1024)
}

pub(super) fn compression(entry: &Spanned<file::Compression>, told: &mut Told<'_>) -> CompressionPolicy {
    let file::Compression { codings: named, level, min_bytes, memory_kib } = entry.get_ref();
    let mut codings = Vec::new();
    for name in named {
        let Some(coding) = told.one(name, coding) else { continue };
        if codings.contains(&coding) {
            told.about(name, format!("`{}` is named twice", coding.token()));
        }
        codings.push(coding);
    }
    if !(1..=MAX_LEVEL).contains(level) {
        told.about(entry, format!("`level` is 1 to {MAX_LEVEL}, not {level}"));
    }
    if !(LEAST_COMPRESSION_KIB..=MOST_KIB).contains(memory_kib) {
        let message = format!(
            "`memory_kib` is {LEAST_COMPRESSION_KIB}, one encoder's, to {MOST_KIB}, not {memory_kib}"
        );
        told.about(entry, message);
    }
    let memory_bytes = memory_kib.saturating_mul(1024);
    CompressionPolicy { codings, level: *level, min_bytes: *min_bytes, memory_bytes }
}

fn coding(name: &str) -> Result<Coding, String> {
    let coding = Coding::ALL.into_iter().find(|coding| coding.token() == name);
    coding.ok_or_else(|| format!("`{name}` is no coding that the edge knows: br, zstd or gzip"))
}

/// A folder alone, or a table that also names the fallback.
impl<'de> Deserialize<'de> for file::Files {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FolderOrTable)
    }
}

struct FolderOrTable;

impl<'de> serde::de::Visitor<'de> for FolderOrTable {
    type Value = file::Files;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a folder, or { folder, fallback }")
    }

    fn visit_str<E>(self, folder: &str) -> Result<Self::Value, E> {
        Ok(file::Files { folder: folder.into(), fallback: None })
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        let table = file::FilesTable::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(file::Files { folder: table.folder, fallback: table.fallback })
    }
}
