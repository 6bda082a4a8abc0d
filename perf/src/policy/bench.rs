//! Something short that is done often enough to be measured.

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::statistics::median;

/// What is measured.
pub(crate) struct Bench {
    name: &'static str,
    once: Box<dyn FnMut()>,
}

/// A bench by its name; `once` is done over and over, and what it gives is kept from being optimised away.
pub(crate) fn bench<T: 'static>(name: &'static str, mut once: impl FnMut() -> T + 'static) -> Bench {
    let once = Box::new(move || {
        black_box(once());
    });
    Bench { name, once }
}

impl Bench {
    /// Finds out how often it must be done to last about as `long`.
    pub(crate) fn calibrate(&mut self, long: Duration) -> Series {
        let mut times = 1;
        loop {
            let took = self.run(times);
            if took >= long / 4 || times >= 1 << 40 {
                let ratio = long.as_secs_f64() / took.as_secs_f64().max(1e-9);
                let times = ((times as f64) * ratio).ceil().max(1.0) as u64;
                return Series { name: self.name, times, nanoseconds: Vec::new() };
            }
            times *= 2;
        }
    }

    fn run(&mut self, times: u64) -> Duration {
        let began = Instant::now();
        for _ in 0..times {
            (self.once)();
        }
        began.elapsed()
    }
}

/// What all rounds of a bench took.
#[derive(Debug, Serialize)]
pub(crate) struct Series {
    name: &'static str,
    /// How often it is done in a round.
    times: u64,
    /// For one time, of each round.
    nanoseconds: Vec<f64>,
}

impl Series {
    /// Adds a round.
    pub(crate) fn measure(&mut self, bench: &mut Bench) {
        let took = bench.run(self.times);
        self.nanoseconds.push(took.as_nanos() as f64 / self.times as f64);
    }

    /// Name, median, least, most, and how often in a round.
    pub(crate) fn row(&self) -> Vec<String> {
        let rounded = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |ns| format!("{ns:.0}"));
        let values = self.nanoseconds.iter().copied();
        vec![
            self.name.to_owned(),
            rounded(median(&self.nanoseconds)),
            rounded(values.clone().min_by(f64::total_cmp)),
            rounded(values.max_by(f64::total_cmp)),
            format!("{} times", self.times),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::rc::Rc;

    use super::*;

    #[test]
    fn a_round_does_it_as_often_as_was_found_out() {
        let done = Rc::new(Cell::new(0_u64));
        let counter = Rc::clone(&done);
        let mut counted = bench("count", move || counter.set(counter.get() + 1));
        let mut series = counted.calibrate(Duration::from_millis(1));
        let before = done.get();
        series.measure(&mut counted);
        assert_eq!(done.get() - before, series.times);
        assert_eq!(series.row().len(), 5);
    }
}
