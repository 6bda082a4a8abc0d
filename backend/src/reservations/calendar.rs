//! Bookings as calendars read them (RFC 5545), and the private feeds that hold a user's.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use icalendar::{Calendar, Component as _, Event, EventLike as _, EventStatus};
use jiff::Timestamp;
use rand::RngCore as _;
use sha2::{Digest as _, Sha256};

use crate::clock::EpochMillis;
use crate::database::Db;
use crate::read;
use crate::reservations::model::{Reservation, Status};
use crate::write;

/// How long a calendar that subscribes to a feed waits before it looks again.
const REFRESH: &str = "PT1H";

const SECRET_BYTES: usize = 32;

/// A booking and the names that a calendar shows.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(super) struct Entry {
    #[sqlx(flatten)]
    pub(super) reservation: Reservation,
    pub(super) vendor_name: String,
    pub(super) service_name: String,
    pub(super) address: String,
}

/// A calendar of these bookings, `text/calendar`.
pub(super) fn render(entries: &[Entry]) -> String {
    let mut calendar = Calendar::new();
    calendar.name("Daemun").append_property(("REFRESH-INTERVAL;VALUE=DURATION", REFRESH));
    for entry in entries {
        calendar.push(event(entry));
    }
    calendar.done().to_string()
}

fn event(entry: &Entry) -> Event {
    let reservation = &entry.reservation;
    let mut event = Event::new();
    event
        .uid(&format!("{}@daemun", reservation.id))
        .summary(&format!("{} · {}", entry.vendor_name, entry.service_name))
        .status(status(reservation.status));
    for (name, at) in [
        ("DTSTAMP", reservation.created_at),
        ("DTSTART", reservation.starts_at),
        ("DTEND", reservation.ends_at),
    ] {
        event.add_property(name, utc(at));
    }
    if !entry.address.is_empty() {
        event.location(&entry.address);
    }
    if let Some(note) = &reservation.note {
        event.description(note);
    }
    event.done()
}

fn status(status: Status) -> EventStatus {
    match status {
        Status::Pending => EventStatus::Tentative,
        Status::Confirmed | Status::Completed | Status::NoShow => EventStatus::Confirmed,
        Status::Cancelled | Status::Rejected => EventStatus::Cancelled,
    }
}

/// Form 2 of section 3.3.5: a moment in UTC, which every calendar understands without our time zones.
fn utc(at: EpochMillis) -> String {
    let moment = Timestamp::from_millisecond(at.0).unwrap_or(Timestamp::UNIX_EPOCH);
    moment.strftime("%Y%m%dT%H%M%SZ").to_string()
}

macro_rules! entries {
    ($rest:literal) => {
        concat!(
            "SELECT r.id, r.service_id, r.vendor_id, r.user_id, r.starts_at, r.ends_at, r.party_size, r.note, r.status,
                    r.hold_until, r.created_at, v.name AS vendor_name, s.name AS service_name, v.address
            FROM reservations r JOIN vendors v ON v.id = r.vendor_id JOIN services s ON s.id = r.service_id
            WHERE r.waitlist_id IS NULL AND ",
            $rest
        )
    };
}

/// One booking, if this user made it or owns its vendor.
pub(super) async fn find(db: &Db, id: &str, user_id: &str, sees_all: bool) -> sqlx::Result<Option<Entry>> {
    const SQL: &str = entries!("r.id = $1 AND (r.user_id = $2 OR v.owner_id = $2 OR $3)");
    read!(db, |pool| sqlx::query_as(SQL).bind(id).bind(user_id).bind(sees_all).fetch_optional(pool).await)
}

/// What the feed of this secret shows: at most `limit` bookings that begin after `from`, the latest first. `None` if
/// there is no such feed.
pub(super) async fn find_feed(
    db: &Db,
    secret: &str,
    from: EpochMillis,
    limit: i64,
) -> sqlx::Result<Option<Vec<Entry>>> {
    const OWNER: &str = "SELECT user_id FROM calendar_feeds WHERE secret_hash = $1";
    const ENTRIES: &str =
        entries!("r.user_id = $1 AND r.starts_at > $2 ORDER BY r.starts_at DESC, r.id DESC LIMIT $3");
    let owner: Option<String> =
        read!(db, |pool| sqlx::query_scalar(OWNER).bind(hash(secret)).fetch_optional(pool).await)?;
    let Some(user_id) = owner else { return Ok(None) };
    let entries = read!(db, |pool| {
        sqlx::query_as(ENTRIES).bind(&user_id).bind(from).bind(limit).fetch_all(pool).await
    })?;
    Ok(Some(entries))
}

/// Gives a user's feed a new secret, which is known to nobody else; the old one ends.
pub(super) async fn renew_feed(db: &Db, user_id: &str) -> sqlx::Result<String> {
    const SQL: &str = "
        INSERT INTO calendar_feeds (user_id, secret_hash, created_at) VALUES ($1, $2, $3)
        ON CONFLICT (user_id) DO UPDATE SET secret_hash = excluded.secret_hash, created_at = excluded.created_at";
    let mut bytes = [0; SECRET_BYTES];
    rand::rng().fill_bytes(&mut bytes);
    let secret = URL_SAFE_NO_PAD.encode(bytes);
    let (hash, now) = (hash(&secret), EpochMillis::now());
    write!(db, |pool| sqlx::query(SQL).bind(user_id).bind(hash).bind(now).execute(pool).await.map(drop))?;
    Ok(secret)
}

/// Ends a user's feed.
pub(super) async fn delete_feed(db: &Db, user_id: &str) -> sqlx::Result<()> {
    const SQL: &str = "DELETE FROM calendar_feeds WHERE user_id = $1";
    write!(db, |pool| sqlx::query(SQL).bind(user_id).execute(pool).await.map(drop))
}

/// Whoever reads the database doesn't learn anybody's secret.
fn hash(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(secret))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(status: Status) -> Entry {
        Entry {
            reservation: Reservation {
                id: "0190b6a0-1111-7000-8000-000000000000".to_owned(),
                service_id: "s".to_owned(),
                vendor_id: "v".to_owned(),
                user_id: "u".to_owned(),
                starts_at: EpochMillis(1_790_000_000_000),
                ends_at: EpochMillis(1_790_003_600_000),
                party_size: 1,
                note: Some("창가로; 둘, 셋\n넷".to_owned()),
                status,
                hold_until: None,
                created_at: EpochMillis(1_789_000_000_000),
            },
            vendor_name: "머리숲, 2호점".to_owned(),
            service_name: "커트".to_owned(),
            address: String::new(),
        }
    }

    #[test]
    fn an_event_is_told_in_utc_with_its_text_escaped() {
        let text = render(&[entry(Status::Confirmed)]);
        for line in [
            "BEGIN:VCALENDAR\r\n",
            "UID:0190b6a0-1111-7000-8000-000000000000@daemun\r\n",
            "DTSTART:20260921T141320Z\r\n",
            "DTEND:20260921T151320Z\r\n",
            "SUMMARY:머리숲\\, 2호점 · 커트\r\n",
            "DESCRIPTION:창가로\\; 둘\\, 셋\\n넷\r\n",
            "STATUS:CONFIRMED\r\n",
        ] {
            assert!(text.contains(line), "{line:?} in {text}");
        }
        assert!(render(&[entry(Status::Cancelled)]).contains("STATUS:CANCELLED\r\n"));
        assert!(text.lines().all(|line| line.len() <= 75), "{text}");
    }
}
