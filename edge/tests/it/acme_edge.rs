//! The edge gets its certificate from a real CA, by either challenge, and shows it without a restart.

use std::sync::Mutex;

use crate::edge_process::Edge;
use crate::pebble::Pebble;
use crate::tls::shown;

const HOST: &str = "gate.example";

/// An edge that orders a certificate for [`HOST`] beside the one it has, and its CA.
async fn ordering(challenge: &str) -> (Edge, Pebble) {
    let ca = Mutex::new(None);
    let edge = Edge::start_with(|config| {
        let port = |key: &str| {
            let line = config.lines().find_map(|line| line.strip_prefix(key)).expect("an address");
            line.trim_end_matches('"').rsplit_once(':').expect("a port").1.parse().expect("a number")
        };
        let pebble = Pebble::start(port("http = "), port("https = "));
        let (directory, roots) = (&pebble.directory, pebble.roots.display());
        let state = config.split("ticket_keys = \"").nth(1).and_then(|rest| rest.split("ticket-keys").next());
        let state = state.expect("a folder").to_owned() + "acme";
        let acme = format!(
            "[acme]\ndirectory = \"{directory}\"\nhosts = [\"{HOST}\"]\nchallenge = \"{challenge}\"\nstate = \"{state}\"\nroots = \"{roots}\"\n\n[connections]"
        );
        *ca.lock().expect("not poisoned") = Some(pebble);
        config.replace("hosts = [\"localhost\"", &format!("hosts = [\"{HOST}\", \"localhost\"")).replacen("[connections]", &acme, 1)
    })
    .await;
    (edge, ca.into_inner().expect("not poisoned").expect("a CA"))
}

async fn gets_a_certificate(challenge: &str) {
    let (edge, ca) = ordering(challenge).await;
    edge.wait_until("the ordered certificate is shown", async || shown(&edge, HOST).await.is_some()).await;
    let file = edge.folder().join(format!("acme/certificates/{HOST}.pem"));
    assert!(ca.vouches_for(&std::fs::read(file).expect("a certificate"), HOST).await);
    assert_ne!(shown(&edge, "localhost").await, shown(&edge, HOST).await);
    assert_eq!(
        edge.metric(&format!("edge_acme_orders_total{{host=\"{HOST}\",result=\"issued\"}}")).await,
        1.0
    );
}

#[tokio::test]
async fn a_certificate_comes_by_http_01_and_is_shown() {
    gets_a_certificate("http-01").await;
}

#[tokio::test]
async fn a_certificate_comes_by_tls_alpn_01_and_is_shown() {
    gets_a_certificate("tls-alpn-01").await;
}
