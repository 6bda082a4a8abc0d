#!/usr/bin/env bash
# What is claimed of jobs, at full size, with real processes on one database file, and the figures: two backends after
# the same period 1,000 times; `kill -9` at ten random points of a run of 200,000 rows; a runner that is stopped
# (SIGSTOP) and wakes after the takeover; a million waiting timers; 20,000 timers of an outage, and others' writes.
# Usage: perf/jobs.sh   (about three minutes; `perf purge` measures the purge of sessions against a running stack)
set -euo pipefail
cd "$(dirname "$0")/.."

export DAEMUN_JOBS_PERIODS=1000 DAEMUN_JOBS_ROWS=200000 DAEMUN_JOBS_KILLS=10
export DAEMUN_JOBS_TIMERS=1000000 DAEMUN_JOBS_DUE=20000
tests='two_backends_after_the_same_periods|a_run_that_is_killed_again_and_again|a_paused_runner_that_wakes'
tests="$tests|timers_that_wait_cost_nothing|others_write_while_the_timers"
cargo nextest run -p backend --test it --no-capture -E "test(/jobs::.*($tests)/)" 2>&1 |
    grep -E '^(killed|[0-9]+ (periods|timers)|paused|a look at|assertion|error)|(PASS|FAIL|Summary) '
