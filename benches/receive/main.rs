//! Deliveries over HTTP: verified, told from repeats, on disk, and only then answered with 200.

#![allow(missing_docs)]

mod floor;
mod load;
mod ours;

use std::{cell::RefCell, time::Duration};

use bridge_benches::{
    Failure, Role,
    contest::Contest,
    process::{Part, cpu_of, scratch},
    runtime,
};

use crate::load::Load;

/// Signs the deliveries.
pub(crate) const KEY: &str = "a key of the length that Box gives";
pub(crate) const PATH: &str = "/webhooks/box";

fn main() -> Result<(), Failure> {
    match Role::of_this_process() {
        Role::Bench { is_full } => bench(if is_full { (500, 9) } else { (10, 1) }),
        Role::Part(arguments) => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            match arguments.as_slice() {
                ["floor", file] => runtime()?.block_on(floor::serve(file)),
                ["ours", file] => runtime()?.block_on(ours::serve(file)),
                other => Err(format!("no such part: {other:?}").into()),
            }
        }
    }
}

fn bench((a_connection, rounds): (usize, usize)) -> Result<(), Failure> {
    let deliveries = (a_connection * load::CONNECTIONS) as u64;
    let waits = [RefCell::new(Vec::new()), RefCell::new(Vec::new())];
    let cpu = [RefCell::new(Duration::ZERO), RefCell::new(Duration::ZERO)];
    let compete = |server: &'static str, place: usize| {
        let (waits, cpu) = (&waits[place], &cpu[place]);
        move || {
            round(
                server,
                a_connection,
                &mut waits.borrow_mut(),
                &mut cpu.borrow_mut(),
            )
        }
    };
    let title = format!("{deliveries} deliveries of 1.5 KB a round over 32 connections");
    // The CPU column is the sender's.
    Contest::new(title, "delivery", deliveries)
        .with_own_clock("hyper, hmac, rusqlite", compete("floor", 0))
        .with_own_clock("axum route, SqliteStore", compete("ours", 1))
        .run(rounds)?;
    println!(
        "\n{:<28} {:>10} {:>10} {:>10} {:>22}",
        "answered after", "p50 ms", "p99 ms", "most ms", "server CPU µs/delivery"
    );
    for (name, place) in [("floor", 0), ("ours", 1)] {
        let mut waits = waits[place].borrow_mut();
        waits.sort_unstable();
        let at = |share: usize| {
            let wait = waits.get(waits.len().saturating_sub(1) * share / 1000);
            wait.map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e3)
        };
        println!(
            "{name:<28} {:>10.2} {:>10.2} {:>10.2} {:>22.2}",
            at(500),
            at(990),
            at(1000),
            cpu[place].borrow().as_secs_f64() * 1e6 / waits.len() as f64
        );
    }
    Ok(())
}

/// A fresh server on a fresh file, so that all rounds are alike.
fn round(
    server: &str,
    a_connection: usize,
    waits: &mut Vec<Duration>,
    cpu: &mut Duration,
) -> Result<Duration, Failure> {
    let folder = scratch(env!("CARGO_TARGET_TMPDIR"))?;
    let file = folder.path().join("inbox.db");
    let mut part = Part::start(&[server, file.to_str().ok_or("a strange path")?])?;
    let address = part.line()?.parse()?;
    let load = Load::prepare(a_connection)?;
    let before = cpu_of(part.id())?;
    let took = runtime()?.block_on(load.send(address, waits))?;
    *cpu += cpu_of(part.id())?.saturating_sub(before);
    Ok(took)
}
