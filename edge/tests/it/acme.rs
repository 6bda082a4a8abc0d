//! Certificates from a real CA (Pebble), proven through what the room answers.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use edge::acme::{Acme, Pace};
use edge::config::{AcmePolicy, ChallengeKind};
use pingora::services::background::BackgroundService as _;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use tempfile::TempDir;

use crate::acme_site::{BusyCa, Site};
use crate::pebble::Pebble;

const HOST: &str = "www.site.example";
const PATIENCE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A CA, a site that it can reach, and the folder that the site's edges share.
struct World {
    ca: Pebble,
    site: Option<Site>,
    state: TempDir,
    challenge: ChallengeKind,
}

impl World {
    async fn new(challenge: ChallengeKind) -> Self {
        let site = Site::bind().await;
        let [http, tls] = site.ports();
        let ca = Pebble::start(http, tls);
        Self { ca, site: Some(site), state: tempfile::tempdir().expect("a folder"), challenge }
    }

    /// An edge of this site.
    fn acme(&self, pace: Pace) -> Arc<Acme> {
        let settings = settings(&self.ca.directory, &self.ca.roots, self.state.path(), self.challenge);
        Arc::new(Acme::with_pace(settings, pace).expect("valid settings"))
    }

    /// Lets this edge answer at the site's ports while the switch is on.
    fn serve(&mut self, acme: &Arc<Acme>) -> Arc<AtomicBool> {
        self.site.take().expect("one edge serves").serve(acme)
    }

    fn certificate(&self, acme: &Acme) -> String {
        fs::read_to_string(acme.certificate_file(HOST)).expect("a certificate")
    }

    /// Puts a certificate in use that was issued elsewhere and ends in ten days.
    fn put_ending_certificate(&self, acme: &Acme) -> String {
        let key = KeyPair::generate().expect("a key");
        let now =
            date_time_ymd(1970, 1, 1) + SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        let mut parameters = CertificateParams::new([HOST.to_owned()]).expect("a name");
        parameters.not_before = now - 80 * DAY;
        parameters.not_after = now + 10 * DAY;
        let certificate = parameters.self_signed(&key).expect("a certificate");
        let pem = key.serialize_pem() + &certificate.pem();
        fs::write(acme.certificate_file(HOST), &pem).expect("written");
        pem
    }

    /// What is in the state folder for an order under way.
    fn answers(&self) -> usize {
        let folders = ["http-01", "tls-alpn-01"].map(|kind| self.state.path().join("answers").join(kind));
        folders.iter().map(|folder| fs::read_dir(folder).expect("a folder").count()).sum()
    }
}

fn settings(directory: &str, roots: &Path, state: &Path, challenge: ChallengeKind) -> AcmePolicy {
    AcmePolicy {
        directory: directory.to_owned(),
        contact: vec!["mailto:operator@site.example".to_owned()],
        hosts: vec![HOST.to_owned()],
        challenge,
        state: state.to_owned(),
        roots: Some(roots.to_owned()),
        renew_before: None,
    }
}

/// Failures are forgotten at once, or not before the test ends.
fn pause(pause: Duration) -> Pace {
    Pace { look: Duration::from_millis(20), first_pause: pause, longest_pause: pause }
}

/// Waits for a condition, not for a time.
async fn wait_until(what: &str, condition: impl AsyncFn() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_certificate_is_issued(challenge: ChallengeKind) {
    let mut world = World::new(challenge).await;
    let acme = world.acme(pause(DAY));
    world.serve(&acme);
    acme.look().await;
    let pem = world.certificate(&acme);
    assert!(world.ca.vouches_for(pem.as_bytes(), HOST).await, "{pem}");
    assert!(!world.ca.vouches_for(pem.as_bytes(), "other.example").await);
    assert_eq!(world.answers(), 0, "the answers are removed with the order");

    acme.look().await;
    assert_eq!(world.ca.orders(), 1, "a good certificate is left alone");
}

#[tokio::test]
async fn a_certificate_is_issued_by_http_01() {
    a_certificate_is_issued(ChallengeKind::Http01).await;
}

#[tokio::test]
async fn a_certificate_is_issued_by_tls_alpn_01() {
    a_certificate_is_issued(ChallengeKind::TlsAlpn01).await;
}

#[tokio::test]
async fn a_certificate_that_ends_soon_is_renewed() {
    let mut world = World::new(ChallengeKind::Http01).await;
    let acme = world.acme(pause(DAY));
    world.serve(&acme);
    let old = world.put_ending_certificate(&acme);
    acme.look().await;
    let new = world.certificate(&acme);
    assert_ne!(new, old);
    assert!(world.ca.vouches_for(new.as_bytes(), HOST).await, "{new}");
}

#[tokio::test]
async fn a_failing_validation_keeps_the_old_certificate_and_is_not_repeated_during_its_pause() {
    let mut world = World::new(ChallengeKind::Http01).await;
    let acme = world.acme(pause(DAY));
    world.serve(&acme).store(false, Ordering::SeqCst);
    let old = world.put_ending_certificate(&acme);
    acme.look().await;
    acme.look().await;
    // A restart changes nothing: the pause stands in the state folder.
    world.acme(pause(DAY)).look().await;
    assert_eq!(world.ca.orders(), 1);
    assert_eq!(world.certificate(&acme), old);
    assert_eq!(world.answers(), 0);
}

#[tokio::test]
async fn a_host_that_can_be_validated_again_gets_its_certificate() {
    for challenge in [ChallengeKind::Http01, ChallengeKind::TlsAlpn01] {
        let mut world = World::new(challenge).await;
        let acme = world.acme(pause(Duration::ZERO));
        let on = world.serve(&acme);
        on.store(false, Ordering::SeqCst);
        acme.look().await;
        assert!(!acme.certificate_file(HOST).exists());
        on.store(true, Ordering::SeqCst);
        acme.look().await;
        assert_eq!(world.ca.orders(), 2);
        assert!(world.ca.vouches_for(world.certificate(&acme).as_bytes(), HOST).await);
    }
}

#[tokio::test]
async fn edges_with_one_state_folder_order_once_and_each_answers() {
    let mut world = World::new(ChallengeKind::Http01).await;
    let orders = [(); 4].map(|()| world.acme(pause(DAY)));
    // This one never orders.
    let answers = world.acme(pause(DAY));
    world.serve(&answers);
    futures_util::future::join_all(orders.iter().map(|acme| acme.look())).await;
    assert_eq!(world.ca.orders(), 1);
    assert!(world.ca.vouches_for(world.certificate(&answers).as_bytes(), HOST).await);
}

#[tokio::test]
async fn an_account_is_registered_once_and_outlives_the_process() {
    let mut world = World::new(ChallengeKind::Http01).await;
    let acme = world.acme(pause(DAY));
    world.serve(&acme);
    acme.look().await;
    fs::remove_file(acme.certificate_file(HOST)).expect("removed");
    world.acme(pause(DAY)).look().await;
    assert_eq!((world.ca.orders(), world.ca.accounts()), (2, 1));
}

#[tokio::test]
async fn an_account_that_the_ca_lost_is_registered_anew() {
    let mut world = World::new(ChallengeKind::Http01).await;
    let acme = world.acme(pause(Duration::ZERO));
    world.serve(&acme);
    acme.look().await;
    fs::remove_file(acme.certificate_file(HOST)).expect("removed");
    let entries = fs::read_dir(world.state.path()).expect("a folder").map(|entry| entry.expect("one").path());
    let account = entries
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .last()
        .expect("an account");
    let known = fs::read_to_string(&account).expect("readable");
    fs::write(&account, known.replace("/my-account/", "/my-account/lost-")).expect("written");
    acme.look().await;
    assert!(!acme.certificate_file(HOST).exists(), "the CA knows no such account");
    acme.look().await;
    assert!(world.ca.vouches_for(world.certificate(&acme).as_bytes(), HOST).await);
    assert_eq!(world.ca.accounts(), 2);
}

#[tokio::test]
async fn what_a_crash_left_is_removed_at_the_next_look() {
    let mut world = World::new(ChallengeKind::Http01).await;
    let acme = world.acme(pause(DAY));
    world.serve(&acme);
    fs::write(world.state.path().join("answers/http-01/stale"), "stale").expect("written");
    assert_eq!(acme.http_answer("stale").as_deref(), Some("stale"));
    acme.look().await;
    assert_eq!(acme.http_answer("stale"), None);
    assert_eq!(world.ca.orders(), 1);
}

#[tokio::test]
async fn a_ca_that_is_busy_is_left_alone_as_long_as_it_asks() {
    let ca = BusyCa::start("3600").await;
    let state = tempfile::tempdir().expect("a folder");
    let settings = settings(&ca.directory, &ca.roots, state.path(), ChallengeKind::Http01);
    let acme = Acme::with_pace(settings, pause(Duration::ZERO)).expect("valid settings");
    acme.look().await;
    acme.look().await;
    assert_eq!(ca.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn in_the_background_it_orders_by_itself_until_it_is_stopped() {
    let mut world = World::new(ChallengeKind::Http01).await;
    let acme = world.acme(pause(Duration::ZERO));
    world.serve(&acme);
    let (stop, shutdown) = tokio::sync::watch::channel(false);
    let service = Arc::clone(&acme);
    let running = tokio::spawn(async move { service.start(shutdown).await });
    for orders in [1, 2] {
        wait_until("a certificate", async || acme.certificate_file(HOST).exists()).await;
        assert_eq!(world.ca.orders(), orders);
        fs::remove_file(acme.certificate_file(HOST)).expect("removed");
    }
    stop.send(true).expect("it listens");
    tokio::time::timeout(PATIENCE, running).await.expect("it ends").expect("no panic");
}
