use tokio::process::Child;

use crate::setting::Setting;

const GIB: u64 = 1 << 30;
const MIB: u64 = 1 << 20;

/// What the kernel says of a process, in bytes.
pub(crate) fn status(process: &Child, field: &str) -> u64 {
    let path = format!("/proc/{}/status", process.id().unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(field))
        .unwrap();
    let kib: u64 = line
        .trim_matches(|c: char| !c.is_ascii_digit())
        .parse()
        .unwrap();
    kib * 1024
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_gib_passes_within_48_mib() {
    let setting = Setting::with(|configuration| configuration, false).await;
    let server = setting.serve_until_ready().await;
    // After the first file it has all the connections and caches that it will ever have.
    setting.upload("small.pdf", "%PDF-1.7").await;
    setting.wait_done(1).await;
    let idle = status(&server, "VmRSS:");

    let (content, folder) = (setting.content.clone(), setting.folder.clone());
    let upload = tokio::task::spawn_blocking(move || {
        content
            .upload_generated(&folder, "large.pdf", GIB, 1)
            .unwrap()
    });
    let upload = upload.await.unwrap();
    setting.wait_done(2).await;
    let grown = status(&server, "VmHWM:").saturating_sub(idle);
    let files = setting.files_of(&upload.file_id);
    assert_eq!((files.len(), files[0].versions[0].size), (1, GIB));
    assert!(grown <= 48 * MIB, "{} MiB above idle", grown / MIB);
    eprintln!(
        "1 GiB within {:.1} MiB above idle",
        grown as f64 / MIB as f64
    );
}
