//! Certificates by name, their swap, versions, tickets: what is shown to a client, and when. Row C02.

use std::path::Path;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, HandshakeKind, ProtocolVersion, SignatureScheme,
    SupportedProtocolVersion,
};

use crate::edge_process::Edge;
use crate::wire::Wire;

const HERE: [u8; 4] = [127, 0, 0, 1];
const GOOD: &str = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A client that looks at certificates and takes them all.
#[derive(Debug)]
struct Curious;

impl ServerCertVerifier for Curious {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// How such a client connects.
pub(crate) fn curious(versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Curious))
        .with_no_client_auth();
    Arc::new(config)
}

/// The certificate that a client of this name is shown; `None` if it is refused.
pub(crate) async fn shown(edge: &Edge, name: &str) -> Option<Vec<u8>> {
    let connection = edge.dial(curious(rustls::DEFAULT_VERSIONS), name, HERE).await.ok()?;
    connection.get_ref().1.peer_certificates().map(|chain| chain[0].to_vec())
}

/// Writes a pair for these hosts, the certificate last; gives the certificate.
pub(crate) fn write_pair(folder: &Path, name: &str, hosts: &[&str], ends_in: i32) -> Vec<u8> {
    let key = KeyPair::generate().expect("a key");
    let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
    let mut params = CertificateParams::new(hosts).expect("names");
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(ends_in, 1, 1);
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(folder.join(format!("{name}-key.pem")), key.serialize_pem()).expect("written");
    std::fs::write(folder.join(format!("{name}.pem")), certificate.pem()).expect("written");
    certificate.der().to_vec()
}

/// An edge that also answers for `b.example`, with a certificate of its own.
async fn with_two_names() -> Edge {
    Edge::start_with(|config| {
        let folder =
            config.split("certificate = \"").nth(1).and_then(|rest| rest.split("localhost.pem").next());
        let folder = folder.expect("the folder of the certificates").to_owned();
        write_pair(Path::new(&folder), "b", &["b.example"], 4000);
        let second = format!(
            "[[tls.certificates]]\ncertificate = \"{folder}b.pem\"\nprivate_key = \"{folder}b-key.pem\"\n\n"
        );
        config
            .replace("hosts = [", "hosts = [\"b.example\", ")
            .replace("# What clients' conn", &format!("{second}# What clients' conn"))
    })
    .await
}

#[tokio::test]
async fn each_name_is_shown_its_own_certificate_and_unknown_names_none() {
    let edge = with_two_names().await;
    let local = shown(&edge, "localhost").await.expect("a certificate");
    let other = shown(&edge, "b.example").await.expect("a certificate");
    assert_ne!(local, other);
    assert_eq!(shown(&edge, "127.0.0.1").await, Some(local));
    assert_eq!(shown(&edge, "evil.example").await, None);
    assert_eq!(shown(&edge, "sub.localhost").await, None);
}

#[tokio::test]
async fn a_connection_to_one_name_asks_for_no_other() {
    let edge = with_two_names().await;
    for (server_name, host, status) in [
        ("b.example", "b.example", 200),
        ("b.example", "localhost", 421),
        ("localhost", "b.example", 421),
        ("localhost", "LOCALHOST:8443", 200),
        ("127.0.0.1", "127.0.0.1", 200),
    ] {
        let connection = edge.dial(curious(rustls::DEFAULT_VERSIONS), server_name, HERE).await.expect("TLS");
        let mut wire = Wire::new(connection);
        wire.send(GOOD.replace("localhost", host)).await.expect("sent");
        let answer = wire.answer().await.expect("an answer");
        assert_eq!(answer.status, status, "{server_name}, {host}: {answer:?}");
    }
}

#[tokio::test]
async fn a_certificate_is_swapped_under_open_connections() {
    let edge = Edge::start().await;
    let mut open = Wire::open(&edge).await;
    let new = write_pair(edge.folder(), "localhost", &["localhost", "127.0.0.1"], 4000);
    edge.wait_until("the new one is shown", async || shown(&edge, "localhost").await.as_ref() == Some(&new))
        .await;
    open.send(GOOD).await.expect("sent");
    assert_eq!(open.answer().await.expect("an answer").status, 200);
    let file = edge.folder().join("localhost.pem").display().to_string();
    let metric = format!("edge_certificate_not_after_seconds{{file=\"{file}\"}}");
    // The first second of the year 4000.
    edge.wait_until("its end is told", async || edge.metric(&metric).await == 64_060_588_800.0).await;
}

#[tokio::test]
async fn a_certificate_that_is_no_good_is_refused_and_the_old_one_stays() {
    let edge = Edge::start().await;
    let old = shown(&edge, "localhost").await;
    let refused = r#"edge_certificate_reloads_total{result="refused"}"#;
    let other = KeyPair::generate().expect("a key").serialize_pem();
    let breaks: [(&str, &dyn Fn()); 3] = [
        ("expired", &|| drop(write_pair(edge.folder(), "localhost", &["localhost"], 2021))),
        ("mismatched", &|| {
            write_pair(edge.folder(), "localhost", &["localhost"], 4000);
            std::fs::write(edge.folder().join("localhost-key.pem"), &other).expect("written");
        }),
        ("broken", &|| {
            std::fs::write(edge.folder().join("localhost.pem"), "no certificate").expect("written")
        }),
    ];
    for (what, make) in breaks {
        let before = edge.metric(refused).await;
        // Noticed half-way, the pair may be another that is no good either.
        make();
        edge.wait_until(what, async || edge.metric(refused).await > before).await;
        edge.signal("HUP");
        edge.wait_until(what, async || edge.metric(refused).await > before + 1.0).await;
    }
    assert_eq!(shown(&edge, "localhost").await.is_some(), old.is_some());
    let mut wire = Wire::open(&edge).await;
    wire.send(GOOD).await.expect("sent");
    assert_eq!(wire.answer().await.expect("an answer").status, 200);
}

#[tokio::test]
async fn a_session_is_resumed_after_a_restart_of_the_edge() {
    let mut edge = Edge::start().await;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let client = curious(&[version]);
        let kind = async |edge: &Edge| {
            let mut wire = Wire::new(edge.dial(Arc::clone(&client), "localhost", HERE).await.expect("TLS"));
            // TLS 1.3 brings its ticket behind the handshake.
            wire.send(GOOD).await.expect("sent");
            assert_eq!(wire.answer().await.expect("an answer").status, 200);
            wire.stream.get_ref().1.handshake_kind().expect("a handshake")
        };
        assert_eq!(kind(&edge).await, HandshakeKind::Full);
        assert_eq!(kind(&edge).await, HandshakeKind::Resumed);
        edge.restart().await;
        assert_eq!(kind(&edge).await, HandshakeKind::Resumed, "{version:?}");
    }
    assert!(edge.metric(r#"edge_handshakes_total{result="resumed"}"#).await >= 1.0);
}

#[tokio::test]
async fn without_tickets_nothing_is_resumed_and_without_1_2_nobody_speaks_it() {
    let edge = Edge::start_with(|config| {
        config
            .replace("session_tickets = true", "session_tickets = false")
            .replace("versions = [\"1.2\", \"1.3\"]", "versions = [\"1.3\"]")
    })
    .await;
    let client = curious(&[&rustls::version::TLS13]);
    for _ in 0..2 {
        let mut wire = Wire::new(edge.dial(Arc::clone(&client), "localhost", HERE).await.expect("TLS"));
        wire.send(GOOD).await.expect("sent");
        assert_eq!(wire.answer().await.expect("an answer").status, 200);
        let session = wire.stream.get_ref().1;
        assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }
    assert!(edge.dial(curious(&[&rustls::version::TLS12]), "localhost", HERE).await.is_err());
}
