//! The same load for a long time: whether memory grows, and whether anything fails.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{bail, ensure};
use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use crate::disruptions::figures::{Expected, Gets, Sockets};
use crate::disruptions::options::SoakArguments;
use crate::disruptions::report::list;
use crate::disruptions::scene::Scene;
use crate::statistics::percentile;
use crate::{process, table, terminal};

/// Not counted: pools and caches fill.
const WARM_UP: Duration = Duration::from_secs(60);
/// Between two reloads of the policy.
const RELOAD: u64 = 60;
/// After it a WebSocket's client leaves and comes back, or up to twice as long.
const SOCKET_LIFE: Duration = Duration::from_secs(300);
/// Of so many samples one figure is the median.
const FIGURE_SAMPLES: usize = 15;

/// A second's memory, in bytes.
#[derive(Clone, Copy, Debug)]
struct Memory {
    proportional: u64,
    resident: u64,
}

/// A kind of memory over the time, in MiB.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Course {
    start: f64,
    middle: f64,
    end: f64,
    min: f64,
    max: f64,
}

/// What came of it.
#[derive(Debug, Serialize)]
pub(super) struct Soak {
    minutes: u16,
    rate: f64,
    sockets: usize,
    reloads: u64,
    pss_mib: Option<Course>,
    rss_mib: Option<Course>,
    gets: u64,
    failed: BTreeMap<String, u64>,
    again: u64,
    /// Of the minute with the worst.
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
    /// WebSockets whose clients left and came back.
    left: u64,
    dropped: BTreeMap<String, u64>,
    /// Why it ended before its time.
    ended_by: Option<String>,
}

pub(super) async fn soak(arguments: &SoakArguments) -> anyhow::Result<Soak> {
    let mut scene = Scene::set(&arguments.edge, Some(SOCKET_LIFE)).await?;
    let mut soak = Soak::new(arguments);
    sleep(WARM_UP).await;
    soak.add(&scene, Instant::now());
    let mut memory = Vec::new();
    // What was measured is told all the same.
    soak.ended_by =
        watch(arguments, &mut scene, &mut soak, &mut memory).await.err().map(|error| format!("{error:#}"));
    let mib = |of: fn(&Memory) -> u64| course(&memory.iter().map(of).collect::<Vec<_>>());
    soak.pss_mib = mib(|memory| memory.proportional);
    soak.rss_mib = mib(|memory| memory.resident);
    Ok(soak)
}

async fn watch(
    arguments: &SoakArguments,
    scene: &mut Scene,
    soak: &mut Soak,
    memory: &mut Vec<Memory>,
) -> anyhow::Result<()> {
    let began = Instant::now();
    for second in 0..u64::from(arguments.minutes) * 60 {
        let due = began + Duration::from_secs(second);
        sleep_until(due).await;
        scene.edge.check_runs()?;
        let pid = scene.edge.pid();
        let proportional = process::proportional_bytes_with_children(pid)?;
        memory.push(Memory { proportional, resident: process::resident_bytes(pid)? });
        if second % RELOAD == RELOAD / 2 {
            scene.edge.reload().await?;
            soak.reloads += 1;
        }
        if second % RELOAD == 0 {
            soak.add(scene, due);
        }
    }
    let until = Instant::now();
    while !scene.load.record.is_settled(until) {
        sleep(Duration::from_millis(50)).await;
    }
    soak.add(scene, until);
    Ok(())
}

impl Soak {
    fn new(arguments: &SoakArguments) -> Self {
        Self {
            minutes: arguments.minutes,
            rate: arguments.edge.rate,
            sockets: arguments.edge.sockets,
            reloads: 0,
            pss_mib: None,
            rss_mib: None,
            gets: 0,
            failed: BTreeMap::new(),
            again: 0,
            p99_ms: None,
            max_ms: None,
            left: 0,
            dropped: BTreeMap::new(),
            ended_by: None,
        }
    }

    /// Adds what was noticed since the last time.
    fn add(&mut self, scene: &Scene, until: Instant) {
        let (samples, ends) = scene.load.record.take(until);
        let Some(first) = samples.iter().map(|sample| sample.due).min() else { return };
        let gets = Gets::of(&samples, first);
        let sockets = Sockets::of(0, &ends, Expected::default());
        self.gets += gets.sent;
        self.again += gets.again;
        self.left += sockets.left;
        let worst =
            |one: Option<f64>, other: Option<f64>| one.into_iter().chain(other).max_by(f64::total_cmp);
        self.p99_ms = worst(self.p99_ms, gets.p99_ms);
        self.max_ms = worst(self.max_ms, gets.max_ms);
        for (sum, kinds) in [(&mut self.failed, gets.failed), (&mut self.dropped, sockets.dropped)] {
            for (kind, number) in kinds {
                *sum.entry(kind).or_default() += number;
            }
        }
    }
}

/// None of too few samples.
fn course(bytes: &[u64]) -> Option<Course> {
    let middle = (bytes.len() / 2).checked_sub(FIGURE_SAMPLES / 2)?;
    let median = |from: usize| percentile(bytes.get(from..from + FIGURE_SAMPLES)?, 50).map(mib);
    Some(Course {
        start: median(0)?,
        middle: median(middle)?,
        end: median(bytes.len().checked_sub(FIGURE_SAMPLES)?)?,
        min: bytes.iter().min().copied().map(mib)?,
        max: bytes.iter().max().copied().map(mib)?,
    })
}

/// To a hundredth.
#[expect(clippy::cast_precision_loss, reason = "memory of a process")]
fn mib(bytes: u64) -> f64 {
    (bytes as f64 / 1024.0 / 1024.0 * 100.0).round() / 100.0
}

/// Prints it; an error where a GET failed or a WebSocket was dropped.
pub(super) fn print(soak: &Soak, arguments: &SoakArguments) -> anyhow::Result<()> {
    if arguments.edge.json {
        terminal::say(&serde_json::to_string_pretty(soak)?);
    } else {
        let row = |(name, course): (&str, &Option<Course>)| {
            let figures = course.as_ref().map(|it| [it.start, it.middle, it.end, it.min, it.max]);
            let figures = figures.map_or(Vec::new(), |all| all.map(|mib| format!("{mib:.1}")).into());
            std::iter::once(name.to_owned()).chain(figures).collect::<Vec<_>>()
        };
        let rows = [("PSS", &soak.pss_mib), ("RSS", &soak.rss_mib)].map(row);
        let head = ["edge, MiB", "start", "middle", "end", "min", "max"];
        table::lay_out(&head, &rows).iter().for_each(|line| terminal::say(line));
        let ms = |ms: Option<f64>| ms.map_or("-".into(), |ms| format!("{ms:.1} ms"));
        terminal::say(&format!(
            "{} GETs, {} failed, {} asked again; p99 of the worst minute {}, max {}; {} reloads; {} WebSockets left and \
             came back, {} dropped",
            soak.gets,
            soak.failed.values().sum::<u64>(),
            soak.again,
            ms(soak.p99_ms),
            ms(soak.max_ms),
            soak.reloads,
            soak.left,
            soak.dropped.values().sum::<u64>(),
        ));
        list(&soak.failed).chain(list(&soak.dropped)).for_each(|line| terminal::say(&line));
    }
    if let Some(error) = &soak.ended_by {
        bail!("{error}");
    }
    let (failed, dropped) = (soak.failed.values().sum::<u64>(), soak.dropped.values().sum::<u64>());
    ensure!(failed + dropped == 0, "{failed} GETs failed, {dropped} WebSockets were dropped");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_course_is_told_by_medians_of_its_start_middle_and_end() {
        let bytes: Vec<u64> = (0..60).map(|second| (second + 1) << 20).collect();
        let course = course(&bytes).expect("a course");
        assert_eq!(course, Course { start: 8.0, middle: 31.0, end: 53.0, min: 1.0, max: 60.0 });
    }

    #[test]
    fn too_few_samples_have_no_course() {
        assert_eq!(course(&[1; 10]), None);
        assert_eq!(course(&[]), None);
    }
}
