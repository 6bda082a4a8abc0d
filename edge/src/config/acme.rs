//! Who is certified by a CA of its own accord, and by whom.

use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use rustls::pki_types::DnsName;

/// What is ordered where. To set it is to agree to the CA's terms of service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcmePolicy {
    /// The URL of the CA's directory (RFC 8555, 7.1.1): `https://…`. After a change of CA the certificates in use
    /// stay until they end soon; remove their files to have new ones at once.
    pub directory: String,
    /// Whom the CA may write to, as `mailto:…`; may be empty.
    pub contact: Vec<String>,
    /// DNS names, each of which gets a certificate of its own. No wildcards: neither challenge can prove them.
    pub hosts: Vec<String>,
    /// How a host is proven.
    pub challenge: ChallengeKind,
    /// A folder of ours, kept over restarts; edges of one site share it. It holds private keys.
    pub state: PathBuf,
    /// PEM certificates to trust in connections to the CA, beside the system's.
    pub roots: Option<PathBuf>,
    /// How long before its end a certificate is renewed; without, a third of its lifetime. Never more than half
    /// its lifetime: a short-lived certificate would be due as soon as it is issued.
    pub renew_before: Option<Duration>,
}

/// How the CA sees that a host is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeKind {
    /// A file served over HTTP at port 80 (RFC 8555, 8.3).
    Http01,
    /// A certificate shown in a TLS handshake at port 443 (RFC 8737).
    TlsAlpn01,
}

impl AcmePolicy {
    /// The same with names in lower case, or all that is wrong.
    pub fn checked(mut self) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        if !self.directory.parse::<Uri>().is_ok_and(|uri| uri.scheme_str() == Some("https")) {
            faults.push(format!("the CA's directory `{}` is not an https:// URL", self.directory));
        }
        for contact in self.contact.iter().filter(|contact| !contact.starts_with("mailto:")) {
            faults.push(format!("the contact `{contact}` does not start with mailto:"));
        }
        if self.hosts.is_empty() {
            faults.push("no host is to be certified".to_owned());
        }
        for host in &mut self.hosts {
            host.make_ascii_lowercase();
            // Names become names of files: this also keeps out `/` and `..`.
            if DnsName::try_from(host.as_str()).is_err() || host.ends_with('.') {
                faults.push(format!("`{host}` is not a DNS name that can be certified"));
            }
        }
        if faults.is_empty() { Ok(self) } else { Err(faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_faults_of_the_settings_are_told_together() {
        let settings = AcmePolicy {
            directory: "http://ca.example/".into(),
            contact: vec!["someone@example.org".into()],
            hosts: ["good.example", "*.example", "../up", "127.0.0.1", "dot.example."].map(Into::into).into(),
            challenge: ChallengeKind::Http01,
            state: PathBuf::new(),
            roots: None,
            renew_before: None,
        };
        let told = settings.checked().expect_err("faults");
        for part in
            ["http://ca.example/", "someone@", "`*.example`", "`../up`", "`127.0.0.1`", "`dot.example.`"]
        {
            assert_eq!(told.iter().filter(|fault| fault.contains(part)).count(), 1, "{part}: {told:?}");
        }
        assert_eq!(told.len(), 6, "{told:?}");
    }

    #[test]
    fn a_name_in_upper_case_is_the_same_name() {
        let settings = AcmePolicy {
            directory: "https://ca.example/directory".into(),
            contact: Vec::new(),
            hosts: vec!["WWW.Example".into()],
            challenge: ChallengeKind::Http01,
            state: PathBuf::new(),
            roots: None,
            renew_before: None,
        };
        assert_eq!(settings.checked().expect("valid").hosts, ["www.example"]);
    }
}
