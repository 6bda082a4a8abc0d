//! How long a request waits for its server. One that can be repeated elsewhere needn't wait as long for an answer to begin
//! as any may be silent in the middle of one, least of all for a server that turns out to hang.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::server::Server;

/// How often a waiting request looks after its server.
const LOOK: Duration = Duration::from_millis(250);

/// The patience of one request with one server.
pub struct Patience {
    silence: Duration,
    /// Until when the answer must have begun, for another server to be asked in time.
    leaves: Option<(Instant, Arc<Server>)>,
}

/// Why waiting is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitedFor {
    /// The beginning of an answer, as long as one waits who can go elsewhere.
    Answer,
    /// Anything, as long as any server may be silent.
    Sign,
}

impl Patience {
    pub(super) fn new(silence: Duration, leaves: Option<(Duration, Arc<Server>)>) -> Self {
        let leaves = leaves.map(|(after, server)| (Instant::now() + after, server));
        Self { silence, leaves }
    }

    /// The answer has begun: now it is waited for to its end.
    pub fn end_leaving(&mut self) {
        self.leaves = None;
    }

    /// Ends when waiting that begins now has been in vain.
    pub async fn over(&self) -> WaitedFor {
        let mut now = Instant::now();
        let silent = now + self.silence;
        let Some((leaves, server)) = &self.leaves else {
            sleep_until(silent).await;
            return WaitedFor::Sign;
        };
        loop {
            if now >= *leaves || server.is_silent() {
                return WaitedFor::Answer;
            }
            if now >= silent {
                return WaitedFor::Sign;
            }
            sleep_until(silent.min(*leaves).min(now + LOOK)).await;
            now = Instant::now();
        }
    }
}

impl std::fmt::Debug for Patience {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Patience").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(10);
    const LONG: Duration = Duration::from_secs(30);

    fn server() -> Arc<Server> {
        Arc::new(Server::new("backend", ([127, 0, 0, 1], 1).into()))
    }

    async fn waits(patience: &Patience) -> (WaitedFor, Duration) {
        let begun = Instant::now();
        (patience.over().await, begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn who_can_go_elsewhere_leaves_when_the_answer_is_late_and_only_then() {
        let mut patience = Patience::new(LONG, Some((SHORT, server())));
        assert_eq!(waits(&patience).await, (WaitedFor::Answer, SHORT));
        patience.end_leaving();
        assert_eq!(waits(&patience).await, (WaitedFor::Sign, LONG));
        assert_eq!(waits(&Patience::new(LONG, None)).await, (WaitedFor::Sign, LONG));
        assert_eq!(waits(&Patience::new(SHORT, Some((LONG, server())))).await, (WaitedFor::Sign, SHORT));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_a_server_that_turns_out_to_hang() {
        let server = server();
        let patience = Patience::new(LONG, Some((SHORT, Arc::clone(&server))));
        let hangs = async {
            sleep_until(Instant::now() + LOOK * 2).await;
            server.note_silence();
        };
        let ((waited_for, time), ()) = tokio::join!(waits(&patience), hangs);
        assert_eq!(waited_for, WaitedFor::Answer);
        assert!(time <= LOOK * 4, "{time:?}");
    }
}
