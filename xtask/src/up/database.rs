//! The database that a stack is told to run on. Its password goes into a private file of the stack's; no
//! configuration, command line of ours or stack file repeats it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};

use crate::state_dir::{self, StateDir};

/// How URLs of PostgreSQL begin.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// A database's URL, as it was given: there may be a password in it.
#[derive(Clone)]
pub(crate) struct DatabaseUrl {
    /// Without the password.
    url: String,
    password: Option<String>,
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url)
    }
}

impl FromStr for DatabaseUrl {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        if text.strip_prefix("sqlite:").is_some_and(|path| !path.is_empty() && !path.starts_with("//")) {
            return Ok(Self { url: text.to_owned(), password: None });
        }
        let Some(scheme) = POSTGRES.iter().find(|scheme| text.starts_with(**scheme)) else {
            bail!("expected sqlite:PATH or postgres://USER@HOST/DATABASE");
        };
        let rest = &text[scheme.len()..];
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if path.contains("password=") {
            bail!("a password stands before the `@`, or in the file that --database-password-file names");
        }
        let Some((user, host)) = authority.rsplit_once('@') else {
            return Ok(Self { url: text.to_owned(), password: None });
        };
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(percent_decoded(password)?)),
            None => (user, None),
        };
        Ok(Self { url: format!("{scheme}{user}@{host}{path}"), password })
    }
}

/// The database of a stack.
#[derive(Debug)]
pub(crate) struct Database {
    /// Without a password.
    pub(crate) url: String,
    /// Holds the password, if there is one.
    pub(crate) password_file: Option<PathBuf>,
}

impl Database {
    /// The database at `url`, with a password from the URL or a file; paths become absolute.
    pub(crate) fn prepare(
        url: &DatabaseUrl,
        password_file: Option<&Path>,
        state: &StateDir,
    ) -> anyhow::Result<Self> {
        let absolute =
            |path: &Path| std::path::absolute(path).with_context(|| format!("cannot use {}", path.display()));
        let password_file = match (&url.password, password_file) {
            (Some(_), Some(_)) => bail!("the database's URL has a password already"),
            (Some(password), None) => {
                let folder = state.folder("secrets").context("cannot make the folder of the secrets")?;
                let path = folder.join("database-password");
                state_dir::write_private(&path, password.as_bytes())?;
                Some(path)
            }
            (None, file) => file.map(absolute).transpose()?,
        };
        let url = match url.url.strip_prefix("sqlite:") {
            Some(path) => format!("sqlite:{}", absolute(Path::new(path))?.display()),
            None => url.url.clone(),
        };
        Ok(Self { url, password_file })
    }
}

fn percent_decoded(text: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(rest.next()), digit(rest.next())) else {
            bail!("the password in the database's URL is not percent-encoded");
        };
        bytes.push(u8::try_from(high * 16 + low).expect("two hexadecimal digits are a byte"));
    }
    String::from_utf8(bytes).ok().context("the password in the database's URL is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_taken_out_of_the_url() {
        let url: DatabaseUrl = "postgres://u:p%40%20s@h:1/d?sslmode=require".parse().expect("a database");
        assert_eq!(url.url, "postgres://u@h:1/d?sslmode=require");
        assert_eq!(url.password.as_deref(), Some("p@ s"));
        assert!(!format!("{url:?}").contains("p%40"));
        let folder = tempfile::tempdir().expect("a temporary folder");
        let state = StateDir::open(Some(folder.path())).expect("the folder opens");
        let database = Database::prepare(&url, None, &state).expect("prepared");
        let file = database.password_file.expect("there is a password");
        assert_eq!(std::fs::read_to_string(&file).expect("read"), "p@ s");
        Database::prepare(&url, Some(&file), &state).expect_err("one password too many");
    }

    #[test]
    fn other_urls_stay_as_they_are_and_what_is_none_is_refused() {
        for text in ["sqlite:var/a.db", "postgres://h/d", "postgresql://u@%2Frun%2Fpg/d"] {
            let url: DatabaseUrl = text.parse().expect("a database");
            assert_eq!((url.url.as_str(), url.password), (text, None));
        }
        for text in
            ["mysql://u:secret@h/d", "sqlite:", "postgres://u@h/d?password=secret", "postgres://u:%zz@h"]
        {
            let error = text.parse::<DatabaseUrl>().expect_err("it is none").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
