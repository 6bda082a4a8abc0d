//! One piece of a run: where it begins, and the transaction that it is committed in.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock::EpochMillis;
use crate::database::{Db, Transaction};

use super::job::{Chunk, JobError, Limits};
use super::repository::{self, Claim};

/// What a job's [`chunk`](super::job::Job::chunk) works with.
pub struct Work<'a> {
    db: &'a Db,
    claim: &'a Claim,
    step: &'static str,
    cursor: Option<String>,
    lease_end: &'a (dyn Fn() -> EpochMillis + Send + Sync),
    transaction: Option<Transaction>,
    /// When that began.
    began: Instant,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        db: &'a Db,
        claim: &'a Claim,
        step: &'static str,
        cursor: Option<String>,
        lease_end: &'a (dyn Fn() -> EpochMillis + Send + Sync),
    ) -> Self {
        Self { db, claim, step, cursor, lease_end, transaction: None, began: Instant::now() }
    }

    /// The beginning of the period that the run is for.
    pub fn period(&self) -> Timestamp {
        Timestamp::from_millisecond(self.claim.period.0).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// The step's name.
    pub fn step(&self) -> &'static str {
        self.step
    }

    /// What the step's last committed chunk gave as `next`; none at the step's beginning.
    pub fn cursor(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// For what is only read. Large reads belong here, before the transaction.
    pub fn db(&self) -> &'a Db {
        self.db
    }

    /// The transaction that the chunk is committed in. It begins with proof that the run is still this backend's;
    /// from then on nobody can take it over until the end of the transaction.
    pub async fn transaction(&mut self) -> Result<&mut Transaction, JobError> {
        let transaction = match self.transaction.take() {
            Some(transaction) => transaction,
            None => {
                let mut transaction = self.db.begin().await?;
                self.began = Instant::now();
                if !repository::hold(&mut transaction, self.claim, (self.lease_end)()).await? {
                    return Err(JobError::Lost);
                }
                transaction
            }
        };
        Ok(self.transaction.insert(transaction))
    }

    /// Commits what the chunk wrote, together with where the next begins; the last one `ends` the run. For how long
    /// nobody else could write.
    pub(super) async fn finish(
        mut self,
        chunk: Chunk,
        limits: Limits,
        ends: bool,
    ) -> Result<Duration, JobError> {
        let (claim, step) = (self.claim, self.step);
        let transaction = self.transaction().await?;
        let skipped = repository::insert_skips(transaction, claim, step, &chunk.skipped).await?;
        repository::save_step(transaction, claim, step, &chunk).await?;
        if let Some(skip) = chunk.skipped.last().filter(|_| skipped > limits.skips) {
            return Err(JobError::TooManySkips { limit: limits.skips, reason: skip.reason.clone() });
        }
        if ends {
            repository::set_done(transaction, claim, EpochMillis::now()).await?;
        }
        if let Some(transaction) = self.transaction {
            transaction.commit().await?;
        }
        Ok(self.began.elapsed())
    }
}
