//! The same work by several hands in turn, and a table of how they did.

use std::time::{Duration, Instant};

use crate::{Failure, process::cpu_of};

/// The first contender is the floor; the others are held against it. In each round all do the
/// work once, every other round in reverse order, so that whatever else the machine does meets
/// all of them alike. Of the ratios printed, that of the best rounds is the least disturbed by it,
/// and that of the CPU times the next; the median is over the rounds' own ratios.
pub struct Contest<'a> {
    title: String,
    /// What is counted, and how many of it one round has.
    unit: &'static str,
    units: u64,
    contenders: Vec<Contender<'a>>,
}

struct Contender<'a> {
    name: &'static str,
    work: Box<dyn FnMut() -> Result<Duration, Failure> + 'a>,
    took: Vec<Duration>,
    cpu: Duration,
}

impl<'a> Contest<'a> {
    /// A contest over `units` of `unit` a round.
    pub fn new(title: impl Into<String>, unit: &'static str, units: u64) -> Self {
        Self {
            title: title.into(),
            unit,
            units,
            contenders: Vec::new(),
        }
    }

    /// One that works in this process.
    #[must_use]
    pub fn with(
        self,
        name: &'static str,
        mut work: impl FnMut() -> Result<(), Failure> + 'a,
    ) -> Self {
        self.with_own_clock(name, move || {
            let started = Instant::now();
            work()?;
            Ok(started.elapsed())
        })
    }

    /// One that has things to prepare, and says how long its work took without them.
    #[must_use]
    pub fn with_own_clock(
        mut self,
        name: &'static str,
        work: impl FnMut() -> Result<Duration, Failure> + 'a,
    ) -> Self {
        self.contenders.push(Contender {
            name,
            work: Box::new(work),
            took: Vec::new(),
            cpu: Duration::ZERO,
        });
        self
    }

    /// Runs the rounds, after one to warm up, and prints the table.
    pub fn run(mut self, rounds: usize) -> Result<(), Failure> {
        for round in 0..=rounds {
            let count = self.contenders.len();
            for turn in 0..count {
                let position = if round % 2 == 0 {
                    turn
                } else {
                    count - 1 - turn
                };
                self.contenders[position].compete(round > 0)?;
            }
        }
        self.print();
        Ok(())
    }

    fn print(&self) {
        let Some(floor) = self.contenders.first() else {
            return;
        };
        let unit = self.unit;
        println!("\n{}", self.title);
        println!(
            "{:<28} {:>14} {:>12} {:>14} {:>10} {:>10} {:>10}",
            "",
            format!("best {unit}/s"),
            "median",
            format!("CPU µs/{unit}"),
            "best : 1",
            "median : 1",
            "CPU : 1"
        );
        for contender in &self.contenders {
            let ratios = floor.took.iter().zip(&contender.took);
            let ratio = median(ratios.map(|(floor, ours)| floor.div_duration_f64(*ours)));
            let took = || contender.took.iter().map(Duration::as_secs_f64);
            let units = self.units as f64;
            println!(
                "{:<28} {:>14.0} {:>12.0} {:>14.2} {:>10.3} {:>10.3} {:>10.3}",
                contender.name,
                units / best(&contender.took),
                units / median(took()),
                contender.cpu.as_secs_f64() * 1e6 / units / contender.took.len() as f64,
                best(&floor.took) / best(&contender.took),
                ratio,
                contender.cpu.div_duration_f64(floor.cpu),
            );
        }
    }
}

impl std::fmt::Debug for Contest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contest")
            .field("title", &self.title)
            .finish_non_exhaustive()
    }
}

impl Contender<'_> {
    fn compete(&mut self, counts: bool) -> Result<(), Failure> {
        let id = std::process::id();
        let before = cpu_of(id)?;
        let took = (self.work)()?;
        if counts {
            self.took.push(took);
            self.cpu += cpu_of(id)?.saturating_sub(before);
        }
        Ok(())
    }
}

fn best(took: &[Duration]) -> f64 {
    took.iter().min().map_or(f64::NAN, Duration::as_secs_f64)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
