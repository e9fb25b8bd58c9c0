use box_client::{ErrorKind, FolderId, SignRequestStatus, Signer, SignerRole};
use serde_json::json;

use crate::{
    desk::{Desk, all},
    vendor::{Vendor, reply, status},
};

#[tokio::test]
async fn a_sign_request_ends_by_signing_or_by_being_taken_back() {
    let desk = Desk::start().await;
    let (requests, file) = (desk.client.sign_requests(), desk.file("nda.pdf"));
    let create = || {
        let buyer = Signer::new("buyer@customer.example").order(1);
        let reader = Signer::new("legal@example.com").role(SignerRole::FinalCopyReader);
        let request = requests.create([file.clone()], [buyer, reader]);
        request
            .parent_folder(&desk.folder)
            .external_id("006A")
            .name("NDA")
            .days_valid(30)
    };
    let first = create().send().await.unwrap();
    assert_eq!(first.status, Some(SignRequestStatus::Sent));
    assert_eq!(first.external_id.as_deref(), Some("006A"));
    assert_eq!(first.signers.len(), 2);
    requests.resend(&first.id).await.unwrap();
    desk.fake
        .sign_completed(file.as_str(), &["buyer@customer.example"])
        .unwrap();
    let signed = requests.get(&first.id).await.unwrap();
    assert_eq!(signed.status, Some(SignRequestStatus::Signed));
    assert_eq!(signed.sign_files.unwrap().is_ready_for_download, Some(true));
    let late = requests.cancel(&first.id).await.unwrap_err();
    assert_eq!(late.kind(), ErrorKind::Invalid);
    let second = create().send().await.unwrap();
    let cancelled = requests.cancel(&second.id).await.unwrap();
    assert_eq!(cancelled.status, Some(SignRequestStatus::Cancelled));
    assert_eq!(all(requests.list()).await.len(), 2);
    let root = create()
        .parent_folder(&FolderId::root())
        .send()
        .await
        .unwrap_err();
    assert_eq!(root.kind(), ErrorKind::Invalid);
}

#[tokio::test]
async fn mails_are_not_sent_twice() {
    let vendor = Vendor::start().await;
    vendor
        .answers("POST", "/2.0/sign_requests/12345/resend", [status(502)])
        .await;
    let id = box_client::SignRequestId::new("12345").unwrap();
    let failed = vendor
        .client()
        .sign_requests()
        .resend(&id)
        .await
        .unwrap_err();
    assert!(failed.may_have_happened());
    vendor.done().await;
}

#[tokio::test]
async fn a_url_that_signs_for_somebody_is_in_no_debug_output() {
    let vendor = Vendor::start().await;
    let secret = "https://app.box.com/embed/sign/document/planted";
    let request = json!({
        "id": "12345", "type": "sign-request", "prepare_url": secret,
        "signers": [{ "email": "a@example.com", "embed_url": secret, "iframeable_embed_url": secret }],
    });
    vendor
        .answers("GET", "/2.0/sign_requests/12345", [reply(200, request)])
        .await;
    let id = box_client::SignRequestId::new("12345").unwrap();
    let request = vendor.client().sign_requests().get(&id).await.unwrap();
    assert!(!format!("{request:?}").contains("planted"));
    vendor.done().await;
}
