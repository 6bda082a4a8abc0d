//! Which provider an issuer plays, and in what it differs from the other.

/// A provider that is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Persona {
    Google,
    Kakao,
}

/// Somebody who may be picked on the sign-in page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Person {
    pub(crate) sub: &'static str,
    pub(crate) name: &'static str,
    email: Option<&'static str>,
}

const GOOGLE: [Person; 4] = [
    Person { sub: "ada", name: "Ada", email: Some("ada@example.com") },
    Person { sub: "grace", name: "Grace", email: Some("grace@example.com") },
    Person { sub: "owner", name: "업체 주인", email: Some("owner@example.com") },
    Person { sub: "admin", name: "Admin", email: Some("admin@example.com") },
];

const KAKAO: [Person; 3] = [
    Person { sub: "1000000001", name: "지민", email: None },
    Person { sub: "1000000002", name: "서준", email: None },
    Person { sub: "1000000003", name: "하윤", email: None },
];

impl Persona {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Google => "Google",
            Self::Kakao => "Kakao",
        }
    }

    /// In paths and file names.
    pub(crate) fn id(self) -> &'static str {
        match self {
            Self::Google => "google",
            Self::Kakao => "kakao",
        }
    }

    pub(crate) fn people(self) -> &'static [Person] {
        match self {
            Self::Google => &GOOGLE,
            Self::Kakao => &KAKAO,
        }
    }

    /// Somebody of the list, or an unknown one who is called as their sub is.
    pub(crate) fn person(self, sub: &str) -> (String, Option<String>) {
        match self.people().iter().find(|person| person.sub == sub) {
            Some(person) => (person.name.to_owned(), person.email.map(str::to_owned)),
            None => (sub.to_owned(), None),
        }
    }

    /// How a client may say who it is at the token endpoint. Kakao takes its secret in the form only.
    pub(crate) fn client_authentications(self) -> &'static [&'static str] {
        match self {
            Self::Google => &["client_secret_post", "client_secret_basic"],
            Self::Kakao => &["client_secret_post"],
        }
    }

    /// What is wrong with a sub; Kakao's are numbers.
    pub(crate) fn check_sub(self, sub: &str) -> Result<(), String> {
        if self == Self::Kakao && !sub.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err("`sub` is a number at Kakao".into());
        }
        Ok(())
    }

    /// A scope that the client isn't allowed to ask for. Kakao gives an address to business apps only.
    pub(crate) fn forbidden_scope(self, scope: &str) -> Option<&str> {
        match self {
            Self::Google => None,
            Self::Kakao => scope.split(' ').find(|scope| *scope == "account_email"),
        }
    }
}
