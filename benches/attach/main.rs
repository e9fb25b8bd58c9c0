//! A file from Box to Salesforce: download, hashes, upload.

#![allow(missing_docs)]

mod bridged;
mod clients;
mod floor;

use std::time::Instant;

use bridge_benches::{
    Failure, Role, at_once,
    contest::Contest,
    far_side::{self, FAR_SIDE, FarSide},
    process::{Part, peak_memory},
    runtime,
    sample::{self, SampleFile},
};
use md5::Md5;
use salesforce_client::Strategy;

use crate::{bridged::Bridged, clients::Clients, floor::Floor};

const ONE_FILE: &str = "one-file";
const MEGABYTE: u64 = 1024 * 1024;
/// What a JSON body for Salesforce has room for ends at 37.5 MB.
const LARGEST_BASE64: u64 = 36 * MEGABYTE;
const LARGE: u64 = 256 * MEGABYTE;

/// How the bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    Base64,
    Multipart,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Base64 => "base64",
            Self::Multipart => "multipart",
        }
    }

    fn strategy(self) -> Strategy {
        match self {
            Self::Base64 => Strategy::Base64,
            Self::Multipart => Strategy::Multipart,
        }
    }
}

fn main() -> Result<(), Failure> {
    match Role::of_this_process() {
        Role::Bench { is_full } => bench(is_full),
        Role::Part(arguments) => {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            match arguments.as_slice() {
                [FAR_SIDE] => runtime()?.block_on(far_side::serve()),
                [ONE_FILE, url, who, form, size, count] => {
                    one_file(url, who, form, size.parse()?, count.parse()?)
                }
                other => Err(format!("no such part: {other:?}").into()),
            }
        }
    }
}

fn bench(is_full: bool) -> Result<(), Failure> {
    let (files, rounds) = if is_full { (200, 9) } else { (8, 1) };
    let far_side = FarSide::start()?;
    for form in [Form::Base64, Form::Multipart] {
        small_files(&far_side.url, form, files, rounds)?;
    }
    println!(
        "\none file after the other, each contender in a fresh process\n\
         {:<28} {:>12} {:>12} {:>12}",
        "", "MB", "MB/s", "peak RSS MB"
    );
    let (base64, multipart) = if is_full { (7, LARGE) } else { (1, MEGABYTE) };
    let sizes = [
        (Form::Base64, LARGEST_BASE64, base64),
        (Form::Multipart, multipart, 1),
    ];
    for (form, size, count) in sizes {
        for who in ["floor", "clients", "bridge"] {
            let (size_text, count_text) = (size.to_string(), count.to_string());
            let arguments = [
                ONE_FILE,
                &far_side.url,
                who,
                form.name(),
                &size_text,
                &count_text,
            ];
            let said = Part::start(&arguments)?.line()?;
            let (seconds, peak) = said.split_once(' ').ok_or("no figures")?;
            let megabytes = (size * count / MEGABYTE) as f64;
            println!(
                "{:<28} {:>12} {:>12.0} {:>12.1}",
                format!("{who}, {}", form.name()),
                format!("{count} x {}", size / MEGABYTE),
                megabytes / seconds.parse::<f64>()?,
                peak.parse::<f64>()? / MEGABYTE as f64
            );
        }
    }
    Ok(())
}

fn small_files(url: &str, form: Form, files: u64, rounds: usize) -> Result<(), Failure> {
    let runtime = runtime()?;
    let sha1 = sample::sha1(MEGABYTE);
    let md5 = sample::digest::<Md5>(MEGABYTE);
    let mut serial = 0;
    let mut file = move || {
        serial += 1;
        SampleFile::new(MEGABYTE, serial, &sha1)
    };
    let mut other = file.clone();
    let mut third = file.clone();
    let mut fourth = file.clone();

    let floor = Floor::new(url, false)?;
    let floor_md5 = Floor::new(url, true)?;
    let clients = Clients::new(url)?;
    let bridged = Bridged::new(url, form, &md5)?;
    let title = format!("1 MB by {}, 8 at once, {files} files a round", form.name());
    Contest::new(title, "file", files)
        .with("bare, SHA-1 (floor)", || {
            runtime.block_on(at_once(files, 8, |_| floor.clone().carry(file(), form)))
        })
        .with("bare, SHA-1 and MD5", || {
            runtime.block_on(at_once(files, 8, |_| {
                floor_md5.clone().carry(other(), form)
            }))
        })
        .with("clients, SHA-1", || {
            runtime.block_on(at_once(files, 8, |_| clients.clone().carry(third(), form)))
        })
        .with("bridge", || {
            runtime.block_on(at_once(files, 8, |_| bridged.clone().carry(fourth())))
        })
        .run(rounds)
}

fn one_file(url: &str, who: &str, form: &str, size: u64, count: u64) -> Result<(), Failure> {
    let form = match form {
        "base64" => Form::Base64,
        _ => Form::Multipart,
    };
    let (sha1, md5) = (sample::sha1(size), sample::digest::<Md5>(size));
    let file = |serial| SampleFile::new(size, serial, &sha1);
    let runtime = runtime()?;
    let started = Instant::now();
    runtime.block_on(async {
        match who {
            "floor" => {
                let floor = Floor::new(url, false)?;
                at_once(count, 1, |serial| floor.clone().carry(file(serial), form)).await
            }
            "clients" => {
                let clients = Clients::new(url)?;
                at_once(count, 1, |serial| clients.clone().carry(file(serial), form)).await
            }
            _ => {
                let bridged = Bridged::new(url, form, &md5)?;
                at_once(count, 1, |serial| bridged.clone().carry(file(serial))).await
            }
        }
    })?;
    println!("{} {}", started.elapsed().as_secs_f64(), peak_memory()?);
    Ok(())
}
