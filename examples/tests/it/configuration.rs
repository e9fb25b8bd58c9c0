use crate::setting::{configuration, program};

#[tokio::test]
async fn a_configuration_that_cannot_work_ends_with_2_and_a_line_for_each_problem() {
    let home = tempfile::tempdir().unwrap();
    let nowhere = "http://127.0.0.1:1";
    let good = configuration("127.0.0.1:1", nowhere, nowhere);
    for (text, lines, says) in [
        (
            good.replace("poll =", "pol ="),
            1,
            "unknown key `pol`; the nearest known one is `poll`",
        ),
        (
            good.replace("\"20ms\"", "\"soon\""),
            1,
            "`soon` is no length of time",
        ),
        (
            good.replace("_TOKEN\"", "_NOT_SET\"")
                .replace("_SECRET\"", "_NOT_SET\""),
            2,
            "the variable TEST_BOX_NOT_SET is not set",
        ),
        (
            good.replace("FILE.UPLOADED", "FILE.VERSION.RESTORED"),
            1,
            "FILE.UPLOADED",
        ),
        (
            good.replace("{file.name}", "{file.nam}"),
            1,
            "there is no place {file.nam}",
        ),
        (String::new(), 1, "missing field"),
    ] {
        std::fs::write(home.path().join("bridge.toml"), text).unwrap();
        let run = program(home.path())
            .env("TEST_BOX_TOKEN", "token")
            .env("TEST_SALESFORCE_SECRET", "secret")
            .args(["serve", "--config", "bridge.toml"])
            .output();
        let output = run.await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert_eq!(said.lines().count(), lines, "{said}");
        assert!(said.contains(says), "{said}");
    }
    assert!(
        !home.path().join("bridge.db").exists(),
        "something was started"
    );
}
