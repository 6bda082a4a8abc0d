//! Where the database is: a file, or a server by its URL.

use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::file::{Faults, secret};
use super::{Database, Synchronous};

/// How SQLite's URLs begin.
pub(super) const SQLITE: &str = "sqlite:";

/// How PostgreSQL's do.
const POSTGRES: [&str; 2] = ["postgres", "postgresql"];

/// Parameters of a URL that name files.
const FILES: [&str; 3] = ["sslrootcert", "sslcert", "sslkey"];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DatabaseTable {
    url: String,
    password_file: Option<PathBuf>,
    synchronous: Synchronous,
    readers: u32,
    writers: u32,
    page_cache_kib: u32,
}

pub(super) fn database(table: DatabaseTable, folder: &Path, faults: &mut Faults) -> Database {
    let (url, in_url) = parse_url(&table.url, folder).unwrap_or_else(|fault| {
        faults.add("database.url", fault);
        (String::new(), None)
    });
    let file = table.password_file.filter(|file| !file.as_os_str().is_empty());
    let key = "database.password_file";
    faults.require(file.is_none() || in_url.is_none(), key, "the URL has a password already");
    let in_file = file.and_then(|file| secret(&folder.join(file), key, faults)).map(SecretString::from);
    faults.require((1..=64).contains(&table.readers), "database.readers", "expected 1 to 64");
    faults.require((1..=8).contains(&table.writers), "database.writers", "expected 1 to 8");
    faults.require(
        (64..=1024 * 1024).contains(&table.page_cache_kib),
        "database.page_cache_kib",
        "expected 64 to 1048576",
    );
    Database {
        url,
        password: in_file.or(in_url),
        synchronous: table.synchronous,
        readers: table.readers,
        writers: table.writers,
        page_cache_kib: table.page_cache_kib,
    }
}

/// The URL with absolute paths and without its password, and the password. A fault doesn't repeat the URL: there may
/// be a password in it.
pub(super) fn parse_url(text: &str, folder: &Path) -> Result<(String, Option<SecretString>), String> {
    let expected =
        || "expected `sqlite:` and the path of a file, or postgres://USER@HOST/DATABASE".to_owned();
    if let Some(path) = text.strip_prefix(SQLITE) {
        let is_path = !path.is_empty() && !path.starts_with("//") && !path.contains([':', '?']);
        return if is_path {
            Ok((format!("{SQLITE}{}", folder.join(path).display()), None))
        } else {
            Err(expected())
        };
    }
    let mut url = Url::parse(text).map_err(|_| expected())?;
    if !POSTGRES.contains(&url.scheme()) {
        return Err(expected());
    }
    let mut password = match url.password() {
        Some(encoded) => {
            let decoded = percent_decode_str(encoded).decode_utf8();
            Some(decoded.map_err(|_| "the password is not UTF-8".to_owned())?.into_owned())
        }
        None => None,
    };
    let _ = url.set_password(None);
    if url.query().is_some() {
        let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
        url.set_query(None);
        for (name, value) in pairs {
            match name.as_str() {
                "password" => password = Some(value),
                name if FILES.contains(&name) => {
                    let path = folder.join(&value);
                    url.query_pairs_mut().append_pair(name, &path.to_string_lossy());
                }
                name => {
                    url.query_pairs_mut().append_pair(name, &value);
                }
            }
        }
    }
    Ok((url.to_string(), password.map(SecretString::from)))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn parse(url: &str) -> (String, Option<String>) {
        let (url, password) = parse_url(url, Path::new("/etc/daemun")).expect("a database");
        (url, password.map(|password| password.expose_secret().to_owned()))
    }

    #[test]
    fn a_password_is_taken_out_of_the_url() {
        for url in [
            "postgres://u:p%40ss@db:5433/d?sslmode=require",
            "postgres://u@db:5433/d?password=p@ss&sslmode=require",
        ] {
            let expected = "postgres://u@db:5433/d?sslmode=require".to_owned();
            assert_eq!(parse(url), (expected, Some("p@ss".to_owned())), "{url}");
        }
        assert_eq!(parse("postgresql://u@db/d"), ("postgresql://u@db/d".to_owned(), None));
    }

    #[test]
    fn relative_paths_start_at_the_folder_of_the_configuration() {
        assert_eq!(parse("sqlite:../var/a.db").0, "sqlite:/etc/daemun/../var/a.db");
        let url = parse("postgres://u@db/d?sslmode=verify-full&sslrootcert=ca.pem").0;
        assert_eq!(url, "postgres://u@db/d?sslmode=verify-full&sslrootcert=%2Fetc%2Fdaemun%2Fca.pem");
        let socket = "postgres://u@%2Frun%2Fpostgresql/d";
        assert_eq!(parse(socket).0, socket);
    }

    #[test]
    fn what_is_no_database_is_refused_without_being_repeated() {
        for url in ["mysql://u:secret@x/y", "sqlite://x", "sqlite:", "sqlite:a?mode=ro", "secret"] {
            let fault = parse_url(url, Path::new("/")).expect_err("it is none");
            assert!(!fault.contains("secret"), "{fault}");
        }
    }
}
