//! Static files: a folder's files under the same path, and nothing from outside the folder.

use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::problem::Problem;

/// A file is read whole; larger ones are not served.
const MAX_FILE_BYTES: u64 = 16 * 1024 * 1024;

/// An answer with a file, or with the news that the client has it already.
#[derive(Debug)]
pub struct Served {
    /// 200 or 304.
    pub status: StatusCode,
    /// Content-Type, Content-Length, ETag, Cache-Control.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The file; empty for HEAD and 304.
    pub body: Bytes,
}

/// The file of a canonical path below `folder`; a folder's own page is its `index.html`.
pub async fn serve(
    folder: &Path,
    method: &Method,
    path: &str,
    headers: &HeaderMap,
) -> Result<Served, Problem> {
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Problem::method_not_allowed());
    }
    let wanted = below(folder, path).ok_or_else(Problem::not_found)?;
    let folder = folder.to_owned();
    let has_body = *method == Method::GET;
    let known = headers.get(header::IF_NONE_MATCH).cloned();
    // Off the threads that serve: a disk may be slow.
    tokio::task::spawn_blocking(move || read(&folder, wanted, has_body, known.as_ref()))
        .await
        .unwrap_or_else(|_| Err(Problem::internal()))
}

/// Where the file of a path would be. `None` for hidden files and for names that no file of ours has.
fn below(folder: &Path, path: &str) -> Option<PathBuf> {
    let mut wanted = folder.to_owned();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        // The canonical path has no dot segments; what begins with a dot is hidden, and what is still encoded
        // is no name that we give to files.
        if segment.starts_with('.') || segment.contains('%') {
            return None;
        }
        wanted.push(segment);
    }
    Some(wanted)
}

fn read(
    folder: &Path,
    wanted: PathBuf,
    has_body: bool,
    known: Option<&HeaderValue>,
) -> Result<Served, Problem> {
    let not_found = |_| Problem::not_found();
    let mut file = wanted.canonicalize().map_err(not_found)?;
    if file.is_dir() {
        file = file.join("index.html").canonicalize().map_err(not_found)?;
    }
    // A symlink may point anywhere; what it leads to must still be inside.
    let root = folder.canonicalize().map_err(not_found)?;
    let metadata = file.metadata().map_err(not_found)?;
    if !file.starts_with(&root) || !metadata.is_file() || metadata.len() > MAX_FILE_BYTES {
        return Err(Problem::not_found());
    }
    let etag = etag(&metadata);
    let mut headers = vec![
        (header::ETAG, etag.clone()),
        // Asked again each time, answered with 304: an edit shows at once.
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    if known.is_some_and(|known| matches_etag(known, &etag)) {
        return Ok(Served { status: StatusCode::NOT_MODIFIED, headers, body: Bytes::new() });
    }
    let content = std::fs::read(&file).map_err(not_found)?;
    headers.push((header::CONTENT_TYPE, content_type(&file)));
    headers.push((header::CONTENT_LENGTH, HeaderValue::from(content.len())));
    let body = if has_body { content.into() } else { Bytes::new() };
    Ok(Served { status: StatusCode::OK, headers, body })
}

/// Changes whenever length or modification time do.
fn etag(metadata: &Metadata) -> HeaderValue {
    let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let text = format!("\"{:x}-{:x}\"", metadata.len(), modified.unwrap_or_default().as_nanos());
    HeaderValue::from_str(&text).expect("hex digits make a value")
}

fn matches_etag(known: &HeaderValue, etag: &HeaderValue) -> bool {
    let (Ok(known), Ok(etag)) = (known.to_str(), etag.to_str()) else { return false };
    known.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == "*" || tag == etag)
}

fn content_type(file: &Path) -> HeaderValue {
    let guess = mime_guess::from_path(file).first_or_octet_stream();
    let text = match guess.type_().as_str() {
        "text" => format!("{}; charset=utf-8", guess.essence_str()),
        _ => guess.essence_str().to_owned(),
    };
    HeaderValue::from_str(&text).expect("a media type is ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(folder: &Path, path: &str) -> Result<Served, Problem> {
        serve(folder, &Method::GET, path, &HeaderMap::new()).await
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
        std::fs::create_dir_all(folder.path().join("web/sub")).expect("folders");
        write("secret.txt", "secret");
        write("web/index.html", "home");
        write("web/app.js", "app");
        write("web/.env", "hidden");
        write("web/sub/index.html", "sub");
        std::os::unix::fs::symlink("../secret.txt", folder.path().join("web/way-out.txt")).expect("a link");
        folder
    }

    #[tokio::test]
    async fn files_and_the_pages_of_folders_are_served() {
        let folder = folder();
        let web = folder.path().join("web");
        for (path, body) in [("/", "home"), ("/app.js", "app"), ("/sub", "sub"), ("/sub/", "sub")] {
            assert_eq!(get(&web, path).await.expect(path).body, body);
        }
        let app = get(&web, "/app.js").await.expect("a file");
        assert!(
            app.headers.contains(&(
                header::CONTENT_TYPE,
                HeaderValue::from_static("text/javascript; charset=utf-8")
            ))
        );
    }

    #[tokio::test]
    async fn nothing_hidden_or_outside_is_served() {
        let folder = folder();
        let web = folder.path().join("web");
        for path in ["/.env", "/way-out.txt", "/none", "/%2e%2e/secret.txt", "/app.js/x"] {
            let problem = get(&web, path).await.expect_err(path);
            assert_eq!(problem.status, StatusCode::NOT_FOUND, "{path}");
        }
    }

    #[tokio::test]
    async fn a_known_file_is_answered_with_304() {
        let folder = folder();
        let web = folder.path().join("web");
        let etag = get(&web, "/").await.expect("a page").headers[0].1.clone();
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, etag)]);
        let served = serve(&web, &Method::GET, "/", &headers).await.expect("an answer");
        assert_eq!((served.status, served.body.len()), (StatusCode::NOT_MODIFIED, 0));
    }

    #[tokio::test]
    async fn only_get_and_head_are_taken() {
        let folder = folder();
        let problem = serve(&folder.path().join("web"), &Method::POST, "/", &HeaderMap::new()).await;
        assert_eq!(problem.expect_err("a problem").status, StatusCode::METHOD_NOT_ALLOWED);
    }
}
