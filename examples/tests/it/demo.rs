use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::setting::program;

#[tokio::test]
async fn the_demo_tells_its_story_and_ends_well() {
    let home = tempfile::tempdir().unwrap();
    let output = program(home.path())
        .arg("demo")
        // Nothing of it goes by a proxy, nor would one find it.
        .env("http_proxy", "http://127.0.0.1:9")
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{log}");
    let chapters = said.lines().filter(|line| {
        let number = line.trim_start().split("  ").next().unwrap_or_default();
        !line.starts_with("   ") && number.parse::<u8>().is_ok()
    });
    assert_eq!(chapters.count(), 14, "{said}");
    for line in [
        "/Clients/Acme/Acme Platform/Contracts and …/Proposals are there, once",
        "the forged one: 401, the delivery is not verified",
        "it is version 2 of the same Salesforce file",
        "looks before it repeats, and finds it: one file",
        "kill -9",
        "Negotiation/Review",
        "one Task, on the Opportunity and on Contact",
        "10 previews, told in ",
        "in Salesforce, told twice: the folder follows",
        "in Box: the record follows",
        "Box has \"Countersign\", Salesforce \"Ask the lawyers\"",
        "25 contracts are uploaded, and of ",
        "the webhook is made anew",
        "All four jobs, and what keeps them true: everything is there, and nothing twice.",
    ] {
        assert!(said.contains(line), "{line} is missing in\n{said}");
    }
}

#[tokio::test]
async fn the_fakes_serve_on_the_ports_they_are_told() {
    let mut fakes = tokio::process::Command::new(env!("CARGO_BIN_EXE_fakes"))
        .args(["--box-port", "0", "--salesforce-port", "0"])
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(fakes.stdout.take().unwrap()).lines();
    let mut urls = Vec::new();
    while urls.len() < 2 {
        let line = lines.next_line().await.unwrap().unwrap();
        if line.starts_with("Box ") || line.starts_with("Salesforce ") {
            urls.push(line.split_whitespace().last().unwrap().to_owned());
        }
    }
    for url in urls {
        let state = reqwest::get(format!("{url}/_fake/state")).await.unwrap();
        assert_eq!(state.status(), 200);
    }
}
