//! Daemun's edge: the gate in front of the service.
//!
//! The rooms, and what each may import:
//!
//! ```text
//! main      → server, explain, nginx, healthcheck, config
//! explain   → admission, config, routes, guards, request, problem, redirects, response_headers
//! nginx     → tls, guards, routes, client_ip, problem, config
//! healthcheck → upstream, config
//! server    → acme, door, drain, gateway, site, admin, redirect, tls, key_refresh, revocation_feed, upstream, guards,
//!             files, compression, access_log, metrics, config
//! door      → connection, drain, client_ip, problem, config
//! gateway   → admission, context, site, target, request, routes, guards, upstream, http1, files, compression, redirects,
//!             response_headers, headers, problem, access_log, metrics, websocket, connection, drain, config
//! admission → client_ip, path, routes, redirect, problem, config
//! admin     → drain, upstream                  redirect  → acme, path, problem
//! key_refresh → site, guards, upstream         tls       → acme, config            target → problem, config
//! revocation_feed → config
//! site      → guards, routes, upstream, metrics, config
//! guards    → client_ip, request, routes, problem, config
//! upstream  → client_ip, config                files     → compression, problem, config
//! acme, compression → config
//! response_headers → routes, config                  redirects → path, config
//! context   → admission, site, guards, connection, upstream, compression
//! access_log → context                          websocket → request
//! connection → drain, config                    routes → config
//! http1, drain, metrics, headers, problem, request, client_ip, path → (nothing)
//! config    → (nothing)
//! ```
//!
//! The life of a request is told at the head of [`gateway`], and [`gateway::Gateway::admit`] begins it; each guard is free of
//! Pingora's types. `tests/it/tidy.rs` holds these arrows.

pub mod access_log;
pub mod acme;
pub mod admin;
pub mod admission;
pub mod client_ip;
pub mod compression;
pub mod config;
pub mod connection;
pub mod context;
pub mod door;
pub mod drain;
pub mod explain;
pub mod files;
pub mod gateway;
pub mod guards;
pub mod headers;
pub mod healthcheck;
pub mod http1;
pub mod key_refresh;
pub mod metrics;
pub mod nginx;
pub mod path;
pub mod problem;
pub mod redirect;
pub mod redirects;
pub mod request;
pub mod response_headers;
pub mod revocation_feed;
pub mod routes;
pub mod server;
pub mod site;
pub mod target;
pub mod tls;
pub mod upstream;
pub mod websocket;
