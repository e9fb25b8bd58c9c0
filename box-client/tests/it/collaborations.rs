use box_client::{
    Change, CollaborationRole, CollaborationStatus, Collaborator, ErrorKind, FolderId, ItemId,
    UserId,
    testing::{Fault, FaultEffect},
};
use serde_json::json;

use crate::{
    desk::{Desk, all},
    vendor::{Vendor, reply, status},
};

fn login(text: &str) -> Collaborator {
    Collaborator::Login(text.to_owned())
}

#[tokio::test]
async fn colleagues_are_in_at_once_and_others_are_asked_first() {
    let desk = Desk::start().await;
    let collaborations = desk.client.collaborations();
    let rep = collaborations
        .create(
            &desk.folder,
            login("jo@example.com"),
            CollaborationRole::Editor,
        )
        .notify(false)
        .can_view_path(true)
        .send()
        .await
        .unwrap();
    assert_eq!(rep.status, Some(CollaborationStatus::Accepted));
    assert_eq!(rep.role, Some(CollaborationRole::Editor));
    assert_eq!(rep.item_id(), Some(ItemId::from(&desk.folder)));
    let buyer = collaborations
        .create(
            &desk.folder,
            login("buyer@customer.example"),
            CollaborationRole::ViewerUploader,
        )
        .expires_at("2030-01-01T00:00:00Z".parse().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(buyer.status, Some(CollaborationStatus::Pending));
    assert_eq!(
        buyer.invite_email.as_deref(),
        Some("buyer@customer.example")
    );
    assert!(buyer.accessible_by.is_none() && buyer.item_id().is_none());
    assert_eq!(all(collaborations.on_folder(&desk.folder)).await.len(), 2);
    assert!(all(collaborations.pending()).await.is_empty());
    let updated = collaborations
        .update(&rep.id)
        .role(CollaborationRole::Viewer)
        .send()
        .await;
    assert_eq!(
        updated.unwrap().unwrap().role,
        Some(CollaborationRole::Viewer)
    );
    collaborations.delete(&rep.id).await.unwrap();
    assert_eq!(
        collaborations.get(&rep.id).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn who_is_in_already_is_a_conflict_and_ensure_mends_the_role() {
    let desk = Desk::start().await;
    let collaborations = desk.client.collaborations();
    let group = desk.client.groups().create("Sales").send().await.unwrap();
    let file = desk.file("nda.pdf");
    for (item, with) in [
        (ItemId::from(&desk.folder), login("JO@example.com")),
        (ItemId::from(&desk.folder), login("buyer@customer.example")),
        (
            ItemId::from(&desk.folder),
            Collaborator::Group(group.id.clone()),
        ),
        (
            ItemId::from(&file),
            Collaborator::User(UserId::new("33333").unwrap()),
        ),
    ] {
        let create = |role| collaborations.create(item.clone(), with.clone(), role);
        let editor = create(CollaborationRole::Editor).ensure().await.unwrap();
        assert_eq!(editor.change, Change::Created);
        let again = create(CollaborationRole::Editor).send().await.unwrap_err();
        assert_eq!(again.kind(), ErrorKind::Conflict);
        assert_eq!(
            again.api().unwrap().code(),
            Some("user_already_collaborator")
        );
        assert_eq!(again.status(), Some(400));
        let same = create(CollaborationRole::Editor).ensure().await.unwrap();
        assert_eq!(
            (same.change, &same.collaboration.id),
            (Change::None, &editor.collaboration.id)
        );
        let viewer = create(CollaborationRole::Viewer).ensure().await.unwrap();
        assert_eq!(viewer.change, Change::Updated);
        assert_eq!(viewer.collaboration.role, Some(CollaborationRole::Viewer));
    }
}

#[tokio::test]
async fn an_invitation_whose_answer_is_lost_is_found_again_by_ensure_only() {
    let desk = Desk::start().await;
    let lost = || Fault::on("/2.0/collaborations", FaultEffect::LostAnswer).times(1);
    let create = |who: &str| {
        let collaborations = desk.client.collaborations();
        collaborations.create(&desk.folder, login(who), CollaborationRole::Editor)
    };
    desk.fake.inject(lost());
    let unknown = create("a@customer.example").send().await.unwrap_err();
    assert!(unknown.may_have_happened());
    desk.fake.inject(lost());
    let ensured = create("b@customer.example").ensure().await.unwrap();
    assert_eq!(ensured.change, Change::None);
    assert_eq!(desk.count("POST", "/2.0/collaborations"), 3);
}

#[tokio::test]
async fn a_new_owner_ends_the_collaboration_and_is_not_asked_for_twice() {
    let id = box_client::CollaborationId::new("55500").unwrap();
    let vendor = Vendor::start().await;
    vendor
        .answers(
            "PUT",
            "/2.0/collaborations/55500",
            [status(204), status(503)],
        )
        .await;
    let client = vendor.client();
    let update = || {
        client
            .collaborations()
            .update(&id)
            .role(CollaborationRole::Owner)
    };
    assert!(update().send().await.unwrap().is_none());
    assert!(update().send().await.unwrap_err().may_have_happened());
    vendor.done().await;
}

#[tokio::test]
async fn a_collaborator_by_way_of_a_folder_above_stays_a_conflict() {
    let vendor = Vendor::start().await;
    let body = json!({
        "type": "error", "status": 400, "code": "user_already_collaborator", "help_url": "x",
        "message": "User is already a collaborator", "request_id": "7xk2",
    });
    vendor
        .answers("POST", "/2.0/collaborations", [reply(400, body)])
        .await;
    let none = json!({ "entries": [], "next_marker": "" });
    vendor
        .answers("GET", "/2.0/folders/100/collaborations", [reply(200, none)])
        .await;
    let folder = FolderId::new("100").unwrap();
    let client = vendor.client();
    let rep =
        client
            .collaborations()
            .create(&folder, login("jo@example.com"), CollaborationRole::Editor);
    let conflict = rep.ensure().await.unwrap_err();
    assert_eq!(
        (conflict.kind(), conflict.request_id()),
        (ErrorKind::Conflict, Some("7xk2"))
    );
    vendor.done().await;
}
