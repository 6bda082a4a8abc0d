//! A timer that goes off within some tens of microseconds: the runtime's own counts in whole milliseconds, which is as
//! much as an answer takes.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::io::read;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

pub(crate) struct Timer(AsyncFd<OwnedFd>);

impl Timer {
    pub(crate) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer: OwnedFd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(deprecated, reason = "unsound for types whose descriptor changes; an OwnedFd's doesn't")]
        AsyncFd::new(timer).map(Self)
    }

    /// Waits until `due`; not at all if it has passed.
    pub(crate) async fn sleep_until(&self, due: Instant) -> io::Result<()> {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        let seconds = i64::try_from(left.as_secs()).unwrap_or(i64::MAX);
        let once = Itimerspec {
            it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
            it_value: Timespec { tv_sec: seconds, tv_nsec: left.subsec_nanos().into() },
        };
        timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
        loop {
            let mut ready = self.0.readable().await?;
            // Readiness may be what is left of the time before: then there is nothing to read yet.
            if let Ok(read) = ready.try_io(|timer| Ok(read(timer, &mut [0; 8])?)) {
                return read.map(|_| ());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn it_waits_again_and_again_and_never_for_what_has_passed() {
        let timer = Timer::new().expect("a timer");
        for _ in 0..3 {
            let due = Instant::now() + Duration::from_micros(300);
            timer.sleep_until(due).await.expect("a wait");
            assert!(Instant::now() >= due);
            timer.sleep_until(due).await.expect("no wait");
        }
    }
}
