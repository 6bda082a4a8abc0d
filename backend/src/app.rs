//! Wires the features together, serves them, and stops them in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use axum::extract::DefaultBodyLimit;
use axum::{Extension, Router};

use crate::admin;
use crate::auth;
use crate::auth::current_user::Authenticator;
use crate::auth::keys::SigningKeys;
use crate::auth::knowledge::Knowledge;
use crate::auth::purge_sessions::PurgeSessions;
use crate::auth::service::Auth;
use crate::auth::tokens::AccessTokens;
use crate::chat;
use crate::chat::service::Chat;
use crate::config::{self, Config};
use crate::database::Db;
use crate::health::{self, Stopping};
use crate::jobs::job::Job;
use crate::jobs::service::{Jobs, Running};
use crate::jobs::timers::Handler;
use crate::jobs::trim_runs::TrimRuns;
use crate::notifications;
use crate::notifications::outbox::Relay;
use crate::notifications::service::Notifications;
use crate::notifications::trim_notifications::TrimNotifications;
use crate::prometheus;
use crate::redis::Redis;
use crate::reservations::purge_idempotency::PurgeIdempotency;
use crate::reservations::purge_waitlist::PurgeWaitlist;
use crate::reservations::service::Reservations;
use crate::reservations::timers::{EndHold, Remind};
use crate::server::Server;
use crate::statistics::daily_statistics::DailyStatistics;
use crate::vendors::service::Vendors;
use crate::{reservations, vendors};

/// No route of ours takes a larger body.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// Health probes are answered within a moment.
const MANAGEMENT_GRACE: Duration = Duration::from_millis(500);

/// A running service.
pub struct App {
    api: Server,
    management: Server,
    stopping: Stopping,
    chat: Chat,
    reservations: Reservations,
    jobs: Running,
    knowledge: Knowledge,
    relay: Relay,
    db: Db,
    shutdown: config::Shutdown,
}

impl App {
    /// Opens what the service needs and serves it. Redis may be down; the database may not.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        // One TLS provider for every client in the process; a second start in it finds it installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let metrics = prometheus::install()?;
        let db = Db::open(&config.database).await.context("opening the database")?;
        let redis = Redis::new(&config.redis)?;
        let keys = SigningKeys::load(&config.tokens.keys_dir, config.tokens.key_schedule())?;
        let tokens = AccessTokens::new(&config.tokens, keys);
        let knowledge = Knowledge::follow(&config.tokens, &redis, &tokens).await?;
        let authenticator = Authenticator::new(tokens.clone());
        let stopping = Stopping::default();

        let gateway = auth::gateway::router(tokens.clone());
        let auth = Auth::new(&config, db.clone(), redis.clone(), tokens)?;
        knowledge.follow_providers(&auth);
        let vendors = Vendors::new(db.clone(), redis.clone(), config.vendors);
        let notifications = Notifications::new(redis.clone());
        let reservations = Reservations::new(
            db.clone(),
            redis.clone(),
            vendors.clone(),
            notifications.clone(),
            config.reservations,
        );

        let chat = Chat::start(&config, db.clone(), redis.clone(), authenticator.clone())?;

        let jobs = jobs(&config, &db, &redis)?;

        let api = Router::new()
            .merge(admin::http::router(jobs.clone()))
            .merge(admin::users::router(auth.clone()))
            .merge(auth::http::router(auth))
            .merge(chat::http::router(chat.clone()))
            .merge(vendors::http::router(vendors))
            .merge(notifications::http::router(notifications.clone()))
            .merge(reservations::http::router(reservations.clone()))
            .layer(Extension(authenticator))
            .layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
        let management = health::router(db.clone(), redis.clone(), stopping.clone())
            .merge(prometheus::router(metrics))
            .merge(gateway);

        let api = Server::start(config.listen.api, api).await?;
        let management = Server::start(config.listen.management, management).await?;
        let jobs = jobs.start();
        let relay = Relay::start(db.clone(), notifications);
        Ok(Self {
            api,
            management,
            stopping,
            chat,
            reservations,
            jobs,
            knowledge,
            relay,
            db,
            shutdown: config.shutdown,
        })
    }

    /// Where the service listens.
    pub fn api_address(&self) -> SocketAddr {
        self.api.address()
    }

    /// Where health is answered.
    pub fn management_address(&self) -> SocketAddr {
        self.management.address()
    }

    /// Says that it isn't ready, gives the gateway time to notice, and then finishes what is in flight.
    pub async fn stop(self) {
        self.stopping.begin();
        tokio::time::sleep(self.shutdown.drain).await;
        let grace = self.shutdown.grace;
        let end = Instant::now() + grace;
        tokio::join!(self.api.stop(grace), self.chat.stop(grace), self.jobs.stop(grace));
        // Bookings whose clients have gone; those of requests ended with them.
        self.reservations.stop(end.saturating_duration_since(Instant::now())).await;
        self.relay.stop().await;
        self.management.stop(MANAGEMENT_GRACE).await;
        self.knowledge.stop().await;
        self.db.close().await;
    }
}

/// Every job of the service. A new one is a file in its feature's room, and a line here.
pub fn jobs(config: &Config, db: &Db, redis: &Redis) -> anyhow::Result<Jobs> {
    let jobs: Vec<Box<dyn Job>> = vec![
        Box::new(PurgeSessions::new(config, redis.clone())),
        Box::new(DailyStatistics::new(config)),
        Box::new(PurgeIdempotency),
        Box::new(PurgeWaitlist),
        Box::new(TrimNotifications::new(redis.clone())),
        Box::new(TrimRuns),
    ];
    let timers: Vec<Box<dyn Handler>> = vec![Box::new(EndHold::new(config.reservations)), Box::new(Remind)];
    Jobs::new(&config.jobs, db.clone(), jobs, timers)
}
