//! Downloads of several ranges at once.

use box_client::{
    ErrorKind, FileId,
    testing::{FakeBox, Fault, FaultEffect},
};

use crate::boxed::{Boxed, sha1_hex};

const RANGE: u64 = 8 << 20;

async fn boxed(size: u64) -> (Boxed, FileId, String) {
    let boxed = Boxed::with(FakeBox::builder()).await;
    let file = boxed.fake.upload_generated("0", "big", size, 7).unwrap();
    (boxed, FileId::new(file.file_id).unwrap(), file.sha1)
}

fn ranges(boxed: &Boxed) -> usize {
    let requests = boxed.fake.requests();
    let on_host = requests.iter().filter(|it| it.path.starts_with("/dl/"));
    on_host.filter(|it| it.header("range").is_some()).count()
}

#[tokio::test]
async fn the_ranges_come_in_order_and_are_the_file() {
    let (boxed, file, sha1) = boxed(3 * RANGE + 5).await;
    let download = boxed.client.files().download(&file);
    let mut download = download
        .expect_sha1(&sha1)
        .parallel(3)
        .send()
        .await
        .unwrap();
    assert_eq!(download.size(), Some(3 * RANGE + 5));
    let mut whole = Vec::new();
    while let Some(chunk) = download.chunk().await.unwrap() {
        whole.extend_from_slice(&chunk);
    }
    assert_eq!(sha1_hex(&whole), sha1);
    assert!(download.chunk().await.unwrap().is_none());
    assert_eq!(ranges(&boxed), 4);

    let part = boxed
        .client
        .files()
        .download(&file)
        .range(RANGE - 1, 2 * RANGE + 1);
    let part = part
        .parallel(2)
        .send()
        .await
        .unwrap()
        .bytes(1 << 26)
        .await
        .unwrap();
    assert!(part == whole[RANGE as usize - 1..2 * RANGE as usize + 2]);
    boxed.done();
}

#[tokio::test]
async fn a_range_that_breaks_off_is_taken_up_where_it_broke() {
    let (boxed, file, sha1) = boxed(3 * RANGE).await;
    let cut = FaultEffect::TruncateBody { after: 1000 };
    boxed.fake.inject(Fault::on("/dl/*", cut).skip(1).times(2));
    let download = boxed
        .client
        .files()
        .download(&file)
        .expect_sha1(&sha1)
        .parallel(2);
    let whole = download.send().await.unwrap().bytes(1 << 26).await.unwrap();
    assert_eq!(sha1_hex(&whole), sha1);
    assert_eq!(ranges(&boxed), 5);
    boxed.done();
}

#[tokio::test]
async fn a_wrong_byte_in_any_range_is_found() {
    let (boxed, file, sha1) = boxed(2 * RANGE).await;
    boxed
        .fake
        .inject(Fault::on("/dl/*", FaultEffect::CorruptBody { at: 5 }).skip(1));
    let download = boxed
        .client
        .files()
        .download(&file)
        .expect_sha1(&sha1)
        .parallel(2);
    let error = download
        .send()
        .await
        .unwrap()
        .bytes(1 << 26)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    boxed.done();
}

#[tokio::test]
async fn a_file_that_changes_meanwhile_is_not_mixed() {
    let (boxed, file, _) = boxed(4 * RANGE).await;
    let download = boxed.client.files().download(&file).parallel(2);
    let mut download = download.send().await.unwrap();
    boxed.fake.upload_version(file.as_str(), "another").unwrap();
    let error = loop {
        match download.chunk().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("two versions in one"),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(error.kind(), ErrorKind::Integrity | ErrorKind::Invalid),
        "{error}"
    );
    boxed.done();
}

#[tokio::test]
async fn small_and_empty_files_are_the_same_as_ever() {
    for size in [0, 1, RANGE] {
        let (boxed, file, sha1) = boxed(size).await;
        let download = boxed
            .client
            .files()
            .download(&file)
            .expect_sha1(&sha1)
            .parallel(4);
        let whole = download.send().await.unwrap().bytes(1 << 26).await.unwrap();
        assert_eq!(whole.len() as u64, size);
        boxed.done();
    }
}
