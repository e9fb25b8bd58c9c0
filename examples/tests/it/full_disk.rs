use std::{path::Path, process::Command};

use salesforce_client::testing::{Fault, FaultEffect};

use crate::setting::{PATIENCE, Setting};

/// A file system of its own, small enough to be filled.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// Nothing where this system does not let us: only root may mount.
    fn mount(at: &'a Path) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "tmpfs"])
            .arg(at)
            .output();
        let said = match mount {
            Ok(output) if output.status.success() => return Some(Self(at)),
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("SKIPPED: no small disk can be mounted (root may): {said}");
        None
    }

    fn ballast(&self) -> std::path::PathBuf {
        self.0.join("ballast")
    }

    fn fill(&self) {
        // Ends in an error, and that is the point.
        let _ = std::fs::write(self.ballast(), vec![0; 32 << 20]);
    }

    fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: a program that is about to die may still hold the store open.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let on_disk = |it: String| it.replace("sqlite:bridge.db", "sqlite:disk/bridge.db");
    let setting = Setting::with(on_disk, true).await;
    let home = setting.home.path().join("disk");
    let Some(disk) = SmallDisk::mount(&home) else {
        return;
    };
    let _server = setting.serve_until_ready().await;
    // Nothing gets done for now, so that the inbox has something to lose.
    let outage = Fault::on("/services/data/*", FaultEffect::Unavailable).times(u32::MAX);
    setting.crm.inject(outage);
    let mut uploads = Vec::new();
    for number in 0..5 {
        let bytes = format!("%PDF-1.7 before {number}");
        let name = format!("before {number}.pdf");
        uploads.push((setting.upload(&name, bytes.clone()).await, bytes));
    }

    disk.fill();
    let mut refused = 0;
    // What is left in SQLite's own files may still take some.
    while refused < 10 {
        let number = uploads.len();
        assert!(number < 2_000, "the disk is never full");
        let bytes = format!("%PDF-1.7 meanwhile {number}");
        let name = format!("meanwhile {number}.pdf");
        let upload = setting
            .content
            .upload(&setting.folder, &name, bytes.clone());
        let upload = upload.unwrap();
        let event = upload.event_ids[0].clone();
        let mut answer = None;
        setting
            .until("the delivery to be answered", async || {
                let deliveries = setting.content.deliveries();
                let ours = deliveries.iter().find(|it| it.event_id == event);
                answer = ours.and_then(|it| it.status);
                answer.is_some()
            })
            .await;
        let answer = answer.unwrap();
        assert!([200, 503].contains(&answer), "{answer}");
        refused += usize::from(answer == 503);
        uploads.push((upload, bytes));
    }
    disk.free();

    setting.crm.clear_faults();
    for (upload, _) in &uploads {
        let event = &upload.event_ids[0];
        if setting
            .content
            .wait_delivered(event, PATIENCE)
            .await
            .is_err()
        {
            setting.content.redeliver(event);
            let taken = setting.content.wait_delivered(event, PATIENCE).await;
            assert!(taken.is_ok(), "{taken:?}\n{}", setting.log());
        }
    }
    setting.wait_done(uploads.len()).await;
    for (upload, bytes) in &uploads {
        setting.assert_once(&upload.file_id, &[bytes.clone().into_bytes()]);
    }
    setting.assert_a_task_for_each_event(uploads.len());
}
