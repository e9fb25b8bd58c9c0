use box_client::testing::{FakeBox, Fault, FaultEffect};

use crate::support::{Session, send, sha1_hex};

#[tokio::test]
async fn content_is_on_another_host_that_refuses_a_token() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "0123456789").unwrap();
    let location = session.location(&file.file_id).await;
    assert!(location.starts_with(&session.fake.download_url()));
    assert_ne!(session.fake.download_url(), session.fake.url());
    let got = send(session.http.get(&location)).await;
    assert_eq!((got.status, &got.body[..]), (200, &b"0123456789"[..]));
    assert_eq!(got.header("content-length"), "10");
    send(session.http.get(&location).bearer_auth(&session.token))
        .await
        .refused(400, "bad_request");
}

#[tokio::test]
async fn a_client_that_follows_redirects_gets_the_content() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "content").unwrap();
    let following = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/2.0/files/{}/content", session.fake.url(), file.file_id);
    let got = send(following.get(url).bearer_auth(&session.token)).await;
    assert_eq!((got.status, &got.body[..]), (200, &b"content"[..]));
}

#[tokio::test]
async fn ranges_are_served() {
    let session = Session::start().await;
    let file = session.fake.upload("0", "a", "0123456789").unwrap();
    let location = session.location(&file.file_id).await;
    for (range, status, content_range, body) in [
        ("bytes=2-4", 206, "bytes 2-4/10", "234"),
        ("bytes=7-", 206, "bytes 7-9/10", "789"),
        ("bytes=-2", 206, "bytes 8-9/10", "89"),
        ("bytes=10-", 416, "bytes */10", ""),
        ("nonsense", 200, "", "0123456789"),
    ] {
        let got = send(session.http.get(&location).header("range", range)).await;
        assert_eq!(
            (got.status, got.header("content-range")),
            (status, content_range),
            "{range}"
        );
        assert_eq!(got.body, body);
    }
}

#[tokio::test]
async fn versions_have_their_own_content() {
    let session = Session::start().await;
    let first = session.fake.upload("0", "a", "one").unwrap();
    session.fake.upload_version(&first.file_id, "two").unwrap();
    for (query, content) in [
        (String::new(), "two"),
        (format!("?version={}", first.version_id), "one"),
    ] {
        let got = session
            .get(&format!("2.0/files/{}/content{query}", first.file_id))
            .await;
        let content_got = send(session.http.get(got.header("location"))).await;
        assert_eq!(content_got.body, content);
    }
    let unknown = format!("2.0/files/{}/content?version=1", first.file_id);
    session.get(&unknown).await.refused(404, "not_found");
}

#[tokio::test]
async fn a_link_that_was_tampered_with_is_refused() {
    let session = Session::start().await;
    let one = session.fake.upload("0", "a", "one").unwrap();
    let other = session.fake.upload("0", "b", "two").unwrap();
    let link = session.location(&one.file_id).await;
    for forged in [
        link.replace(&one.file_id, &other.file_id),
        format!("{link}0"),
        link.rsplit_once('/').unwrap().0.to_owned() + "/",
    ] {
        send(session.http.get(forged))
            .await
            .refused(403, "forbidden");
    }
    send(
        session
            .http
            .get(format!("{}/dl", session.fake.download_url())),
    )
    .await
    .refused(404, "not_found");
}

#[tokio::test]
async fn a_fresh_version_is_not_ready_once_when_asked_for() {
    let session = Session::with(FakeBox::builder().not_ready_once(true)).await;
    let file = session.fake.upload("0", "a", "x").unwrap();
    let path = format!("2.0/files/{}/content", file.file_id);
    for _ in 0..2 {
        let got = session.get(&path).await;
        assert_eq!(
            (got.status, got.header("retry-after"), got.body.len()),
            (202, "1", 0)
        );
        assert_eq!(session.get(&path).await.status, 302);
        session.fake.upload_version(&file.file_id, "y").unwrap();
    }
}

#[tokio::test]
async fn a_generated_file_has_the_promised_hash_and_is_the_same_for_a_seed() {
    let session = Session::start().await;
    let size = 3 * 1024 * 1024 + 17;
    let file = session.fake.upload_generated("0", "big", size, 7).unwrap();
    let same = session.fake.upload_generated("0", "same", size, 7).unwrap();
    let other = session
        .fake
        .upload_generated("0", "other", size, 8)
        .unwrap();
    assert_eq!(file.sha1, same.sha1);
    assert_ne!(file.sha1, other.sha1);
    let location = session.location(&file.file_id).await;
    let whole = send(session.http.get(&location)).await.body;
    assert_eq!(whole.len() as u64, size);
    assert_eq!(sha1_hex(&whole), file.sha1);
    let tail = send(
        session
            .http
            .get(&location)
            .header("range", "bytes=1000003-"),
    )
    .await
    .body;
    assert_eq!(tail, whole.slice(1_000_003..));
}

#[tokio::test]
async fn a_download_breaks_off_after_the_bytes_asked_for() {
    let session = Session::start().await;
    let file = session
        .fake
        .upload_generated("0", "big", 300_000, 1)
        .unwrap();
    let location = session.location(&file.file_id).await;
    for after in [0, 1, 65_536, 150_001] {
        session
            .fake
            .inject(Fault::on("/dl/*", FaultEffect::TruncateBody { after }));
        let mut answer = session.http.get(&location).send().await.unwrap();
        assert_eq!(answer.content_length(), Some(300_000));
        let mut received = 0;
        let end = loop {
            match answer.chunk().await {
                Ok(Some(chunk)) => received += chunk.len() as u64,
                end => break end,
            }
        };
        assert!(end.is_err());
        assert_eq!(received, after);
    }
    assert_eq!(send(session.http.get(&location)).await.body.len(), 300_000);
}

#[tokio::test]
async fn one_byte_of_a_download_is_flipped_and_the_length_stays() {
    let session = Session::start().await;
    let file = session
        .fake
        .upload_generated("0", "big", 200_000, 1)
        .unwrap();
    let location = session.location(&file.file_id).await;
    let good = send(session.http.get(&location)).await.body;
    for at in [0, 65_536, 199_999] {
        session
            .fake
            .inject(Fault::on("/dl/*", FaultEffect::CorruptBody { at }));
        let bad = send(session.http.get(&location)).await.body;
        let wrong: Vec<_> = (0..good.len()).filter(|&i| good[i] != bad[i]).collect();
        assert_eq!((bad.len(), wrong), (good.len(), vec![at as usize]));
    }
}
