//! What is done by hand with something that is not there ends with 1, and says what is not.

use crate::setting::Setting;

const RULES: &str = r#"
[[rules]]
name = "folders"
triggers = ["Opportunity.*"]
[rules.provision]
layout = ["/Clients/{Account.Name}/{Opportunity.Name}"]

[[rules]]
name = "fields"
triggers = ["METADATA_INSTANCE.UPDATED", "Opportunity.*"]
[rules.sync_metadata]
fields = [{ field = "NextStep", key = "next_step" }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_what_is_not_there_and_ends_with_1() {
    let setting = Setting::with(|it| it + RULES, true).await;
    let file = setting.content.upload(&setting.folder, "a.pdf", "%PDF");
    let file = file.unwrap().file_id;
    // Of the right kind and shape, and nobody's.
    let gone = "0065g00000zzzzzAAA";
    let no_record = format!("{gone} is not there");
    let no_file = "there is no file 404404";
    let no_folder = "there is no folder 404404";
    for (arguments, says) in [
        (&["attach", "404404"][..], no_file),
        (&["attach", "404404", "--dry-run"], no_file),
        (&["attach", &file, "--to", gone], &no_record),
        (&["provision", gone], &no_record),
        (&["provision", gone, "--dry-run"], &no_record),
        (&["provision", gone, "--json"], &no_record),
        (&["sync", gone], &no_record),
        (&["sync", gone, "--dry-run"], &no_record),
        (&["sync", gone, "--json"], &no_record),
        (&["task", gone, "--subject", "x"], &no_record),
        (&["backfill", "--folder", "404404"], no_folder),
        (&["backfill", "--folder", "404404", "--dry-run"], no_folder),
        (
            &["conflicts", "resolve", "none", "--box"],
            "no conflict none",
        ),
        (&["queue", "show", "404"], "no event 404"),
        (&["queue", "retry", "404"], "no event 404"),
        (&["queue", "discard", "404"], "no event 404"),
        (&["queue", "replay", "404"], "no event 404"),
        (&["queue", "replay", "404", "--dry-run"], "no such event"),
        (&["queue", "plan", "404"], "no such event"),
    ] {
        let output = setting.program().args(arguments).output().await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: {said}");
    }
}
