//! What of the product others can reach, and who they are to it.
//!
//! A container on Docker's own bridge, which is no network of the product, stands for another machine. This program
//! itself runs in it, told by its environment where to look.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::thread;
use std::time::Duration;

use reqwest::{Certificate, StatusCode};
use serde_json::Value;

use crate::client::{address, browser, port_of};
use crate::docker::{compose, docker, inspect};
use crate::stack::{Stack, StackFile};

/// Makes this program the one on the other machine.
const HOST: &str = "DAEMUN_OUTSIDE_OF";
/// The addresses of containers, for it.
const CONTAINERS: &str = "DAEMUN_CONTAINERS";
const REACHABLE_WITHIN: Duration = Duration::from_millis(500);

#[tokio::test]
async fn nothing_but_the_gateway_is_reachable_from_outside() {
    let stack = Stack::start();
    if let Ok(host) = std::env::var(HOST) {
        return look_from_outside(&stack.file, host.parse().expect("an address")).await;
    }
    let services = ["backend-0", "backend-1", "redis", "identity-provider"];
    let containers: Vec<_> = services.into_iter().flat_map(addresses).collect();
    assert!(containers.len() >= services.len(), "{containers:?}");
    let mut host =
        docker(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}"]);
    if host.is_empty() {
        host = docker(&["network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}"]);
        host = format!("{}.1", host.rsplit_once('.').expect("IPv4").0);
    }
    let program = std::env::current_exe().expect("a program");
    let stack_file = std::env::var("DAEMUN_STACK_FILE").expect("a file");
    let mount = |from: &str, to: &str| format!("type=bind,readonly,source={from},target={to}");
    docker(&[
        "run",
        "--rm",
        "--mount",
        &mount(program.to_str().expect("a path"), "/test"),
        "--mount",
        &mount(&stack_file, "/stack.json"),
        "--mount",
        &mount(stack.file.ca.to_str().expect("a path"), stack.file.ca.to_str().expect("a path")),
        "--env",
        "DAEMUN_STACK_FILE=/stack.json",
        "--env",
        &format!("{HOST}={host}"),
        "--env",
        &format!("{CONTAINERS}={}", containers.join(",")),
        &std::env::var("RUNTIME_IMAGE").expect("an image"),
        "/test",
        "--exact",
        "exposure::nothing_but_the_gateway_is_reachable_from_outside",
    ]);
    let log = docker(&["logs", "--tail", "200", &compose(&["ps", "--quiet", "edge"])]);
    let seen = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let seen = seen.into_iter().find(|line| line["path"] == "/seen-from-outside").expect("it is in the log");
    let client: IpAddr = seen["client"].as_str().expect("an address").parse().expect("an address");
    assert!(client.to_string() != host && !client.is_loopback(), "the other machine is {client}");
}

/// On the other machine.
async fn look_from_outside(stack: &StackFile, host: IpAddr) {
    let is_open = |address: SocketAddr| TcpStream::connect_timeout(&address, REACHABLE_WITHIN).is_ok();
    for url in [&stack.https, &stack.http] {
        assert!(is_open(SocketAddr::new(host, port_of(url))), "{url}");
    }
    let own = [port_of(&stack.edge_admin), port_of(&stack.identity_provider)];
    let ports = [8080, 8081, 9180, 9181, 9000, 9100, 6379, 6399, 5432].into_iter().chain(own);
    let containers = std::env::var(CONTAINERS).expect("addresses");
    let hosts = containers.split(',').map(|address| address.parse().expect("an address")).chain([host]);
    let closed = hosts.flat_map(|host| ports.clone().map(move |port| SocketAddr::new(host, port)));
    // What drops packets takes its time to say no: all are asked at once.
    let looks: Vec<_> = closed.map(|address| (address, thread::spawn(move || is_open(address)))).collect();
    for (address, look) in looks {
        assert!(!look.join().expect("it looks"), "{address} is open");
    }
    let _ = rustls::crypto::ring::default_provider().install_default();
    let ca = std::fs::read(&stack.ca).expect("the CA");
    let http = reqwest::Client::builder()
        .tls_certs_only([Certificate::from_pem(&ca).expect("a certificate")])
        .resolve("localhost", SocketAddr::new(host, port_of(&stack.https)))
        .build()
        .expect("a client");
    let status = async |path: &str| {
        http.get(format!("{}{path}", stack.https)).send().await.expect("an answer").status()
    };
    assert_eq!(status("/api/vendors?limit=1").await, StatusCode::OK);
    assert_eq!(status("/admin/").await, StatusCode::FORBIDDEN);
    assert_eq!(status("/seen-from-outside").await, StatusCode::NOT_FOUND);
}

/// A container's addresses.
fn addresses(service: &str) -> Vec<String> {
    let networks = inspect(service)["NetworkSettings"]["Networks"].take();
    let networks = networks.as_object().expect("networks");
    networks.values().map(|network| network["IPAddress"].as_str().expect("an address").to_owned()).collect()
}

#[test]
fn only_the_identity_provider_is_published_and_to_this_machine_alone() {
    for service in ["edge", "backend-0", "backend-1", "redis", "identity-provider"] {
        let ports = inspect(service)["NetworkSettings"]["Ports"].take();
        let bindings = ports.as_object().into_iter().flat_map(|ports| ports.values());
        let bindings: Vec<_> = bindings.filter_map(Value::as_array).flatten().collect();
        assert_eq!(bindings.len(), usize::from(service == "identity-provider"), "{service}: {bindings:?}");
        assert!(bindings.iter().all(|binding| binding["HostIp"] == "127.0.0.1"), "{service}: {bindings:?}");
    }
}

#[tokio::test]
async fn two_clients_stay_two_addresses_to_the_limits() {
    let stack = Stack::start();
    let login = async |last: u8| {
        let client = browser(&stack.file, address(last));
        let request = client.post(format!("{}/api/auth/login", stack.file.https)).body("{}");
        request.send().await.expect("an answer").status()
    };
    let mut own = StatusCode::OK;
    for _ in 0..11 {
        own = login(1).await;
    }
    assert_eq!(own, StatusCode::TOO_MANY_REQUESTS);
    assert_ne!(login(2).await, StatusCode::TOO_MANY_REQUESTS);
}
