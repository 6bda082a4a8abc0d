//! When a job is due: a cron expression in a time zone.

use std::fmt;

use cronexpr::Crontab;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// How many times that a change of the clocks repeats are passed over at most: those of two hours, minute by minute.
const MAX_REPEATED: usize = 120;

/// Five fields of cron, read on the clocks of a time zone. A time that a change of the clocks leaves out is due as
/// much later as the clocks were moved; one that comes twice is due the first time.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    cron: String,
    /// Knows nothing of zones: what it takes for UTC is the clocks' time.
    crontab: Crontab,
    zone: TimeZone,
}

impl Schedule {
    pub(super) fn parse(cron: &str, zone: &TimeZone) -> anyhow::Result<Self> {
        let fields = cron.split_whitespace().count();
        anyhow::ensure!(fields == 5, "`{cron}`: expected the five fields of cron");
        let crontab = cronexpr::parse_crontab(&format!("{cron} UTC"))
            .map_err(|_| anyhow::anyhow!("`{cron}`: expected minute, hour, day, month and weekday"))?;
        Ok(Self { cron: cron.to_owned(), crontab, zone: zone.clone() })
    }

    /// When it is due next after `moment`; none if never.
    pub(super) fn next_after(&self, moment: Timestamp) -> Option<Timestamp> {
        let mut clocks = moment.to_zoned(self.zone.clone()).datetime();
        for _ in 0..=MAX_REPEATED {
            let clocks_as_utc = clocks.to_zoned(TimeZone::UTC).ok()?.timestamp();
            clocks = self.crontab.find_next(clocks_as_utc).ok()?.datetime();
            let due = clocks.to_zoned(self.zone.clone()).ok()?.timestamp();
            if due > moment {
                return Some(due);
            }
        }
        None
    }

    /// When it was due after `after` and up to `until`, in order, at most `limit` times.
    pub(super) fn between(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Timestamp> {
        let due = std::iter::successors(self.next_after(after), |due| self.next_after(*due));
        due.take_while(|due| *due <= until).take(limit).collect()
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.cron, self.zone.iana_name().unwrap_or("UTC"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(cron: &str, zone: &str, after: &str, until: &str) -> Vec<String> {
        let schedule = Schedule::parse(cron, &TimeZone::get(zone).expect("a zone")).expect("a schedule");
        let moment = |text: &str| text.parse().expect("a moment");
        schedule.between(moment(after), moment(until), 10).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_schedule_is_read_in_its_own_time_zone() {
        assert_eq!(
            due("15 0 * * *", "Asia/Seoul", "2026-11-20T00:00:00Z", "2026-11-22T00:00:00Z"),
            ["2026-11-20T15:15:00Z", "2026-11-21T15:15:00Z"]
        );
    }

    #[test]
    fn the_moment_itself_is_due_until_and_not_after() {
        let hour = "2026-11-20T01:00:00Z";
        assert_eq!(due("0 * * * *", "UTC", "2026-11-20T00:00:00Z", hour), [hour]);
        assert!(due("0 * * * *", "UTC", hour, hour).is_empty());
    }

    #[test]
    fn a_change_of_the_clocks_leaves_no_day_out_and_doubles_none() {
        let spring = due("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", "2026-03-10T12:00:00Z");
        assert_eq!(spring, ["2026-03-08T07:30:00Z", "2026-03-09T06:30:00Z", "2026-03-10T06:30:00Z"]);
        let autumn = due("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", "2026-11-03T12:00:00Z");
        assert_eq!(autumn, ["2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z", "2026-11-03T06:30:00Z"]);
        let minutes = due("* * * * *", "America/New_York", "2026-11-01T06:10:00Z", "2026-11-01T07:01:00Z");
        assert_eq!(
            minutes,
            ["2026-11-01T07:00:00Z", "2026-11-01T07:01:00Z"],
            "the second hour from one to two"
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused_in_one_line() {
        for bad in ["", "* * * *", "61 * * * *", "* * * * * *", "30 2 30 2"] {
            let error = Schedule::parse(bad, &TimeZone::UTC).expect_err("refused").to_string();
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
