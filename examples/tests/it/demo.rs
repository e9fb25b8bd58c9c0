use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};

use crate::setting::program;

#[tokio::test]
async fn the_demo_tells_its_story_and_ends_well() {
    let home = tempfile::tempdir().unwrap();
    let output = program(home.path()).arg("demo").output().await.unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{log}");
    for line in [
        "401: the delivery is not verified",
        "it is version 2 of the same Salesforce file",
        "kill -9",
        "Negotiation/Review",
        "Every version once, every link once, a Task for each event.",
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
