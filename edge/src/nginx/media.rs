//! Media types, by the same table as the edge's own files; nginx wants each extension named.

use std::collections::BTreeMap;

use super::writer::Writer;

/// Extensions of what sites are made of. Others are sent as bytes.
const EXTENSIONS: [&str; 56] = [
    "aac",
    "apng",
    "atom",
    "avif",
    "bmp",
    "css",
    "csv",
    "eot",
    "gif",
    "gz",
    "htm",
    "html",
    "ico",
    "ics",
    "jpeg",
    "jpg",
    "js",
    "json",
    "jsonld",
    "m4a",
    "map",
    "markdown",
    "md",
    "mid",
    "mjs",
    "mov",
    "mp3",
    "mp4",
    "mpeg",
    "oga",
    "ogg",
    "ogv",
    "opus",
    "otf",
    "pdf",
    "png",
    "rss",
    "svg",
    "tar",
    "tif",
    "tiff",
    "ttf",
    "txt",
    "vcf",
    "vtt",
    "wasm",
    "wav",
    "weba",
    "webm",
    "webmanifest",
    "webp",
    "woff",
    "woff2",
    "xhtml",
    "xml",
    "zip",
];

/// What is compressed besides `text/html`, which nginx always does.
const COMPRESSED: [&str; 23] = [
    "text/plain",
    "text/css",
    "text/csv",
    "text/javascript",
    "text/markdown",
    "text/xml",
    "text/calendar",
    "text/vtt",
    "text/vcard",
    "application/json",
    "application/javascript",
    "application/xml",
    "application/wasm",
    "application/problem+json",
    "application/ld+json",
    "application/manifest+json",
    "application/geo+json",
    "application/vnd.api+json",
    "application/xhtml+xml",
    "application/atom+xml",
    "application/rss+xml",
    "application/soap+xml",
    "image/svg+xml",
];

fn table() -> BTreeMap<String, Vec<&'static str>> {
    let mut table: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for extension in EXTENSIONS {
        if let Some(guess) = mime_guess::from_ext(extension).first() {
            table.entry(guess.essence_str().to_owned()).or_default().push(extension);
        }
    }
    table
}

/// The `types` block, for files.
pub(super) fn types(w: &mut Writer) {
    w.block("types", |w| {
        for (media_type, extensions) in table() {
            w.line(format!("{media_type} {};", extensions.join(" ")));
        }
    });
    w.line("default_type application/octet-stream;");
}

/// Types that are said to be UTF-8.
pub(super) fn texts() -> Vec<String> {
    // nginx has this one in any case, and warns of it being there twice.
    table().into_keys().filter(|name| name.starts_with("text/") && name != "text/html").collect()
}

/// Types that are compressed.
pub(super) fn compressed() -> String {
    COMPRESSED.join(" ")
}
