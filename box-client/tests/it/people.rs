use box_client::{
    Assignee, Change, CollaborationRole, CollaborationStatus, Collaborator, ErrorKind, FolderId,
    GroupRole, ItemId, Resolution, SignRequestStatus, Signer, SignerRole, TaskAction, UserId,
    UserStatus,
    testing::{Fault, FaultEffect},
};
use serde_json::json;

use crate::{
    boxed::{Boxed, all},
    vendor::{Vendor, reply, status},
};

fn login(text: &str) -> Collaborator {
    Collaborator::Login(text.to_owned())
}

#[tokio::test]
async fn colleagues_are_in_at_once_and_others_are_asked_first() {
    let boxed = Boxed::start().await;
    let collaborations = boxed.client.collaborations();
    let rep = collaborations
        .create(
            &boxed.folder,
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
    assert_eq!(rep.item_id(), Some(ItemId::from(&boxed.folder)));
    let buyer = collaborations
        .create(
            &boxed.folder,
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
    assert_eq!(all(collaborations.on_folder(&boxed.folder)).await.len(), 2);
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
    let boxed = Boxed::start().await;
    let collaborations = boxed.client.collaborations();
    let group = boxed.client.groups().create("Sales").send().await.unwrap();
    let file = boxed.file("nda.pdf");
    for (item, with) in [
        (ItemId::from(&boxed.folder), login("JO@example.com")),
        (ItemId::from(&boxed.folder), login("buyer@customer.example")),
        (
            ItemId::from(&boxed.folder),
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
    let boxed = Boxed::start().await;
    let lost = || Fault::on("/2.0/collaborations", FaultEffect::LostAnswer).times(1);
    let create = |who: &str| {
        let collaborations = boxed.client.collaborations();
        collaborations.create(&boxed.folder, login(who), CollaborationRole::Editor)
    };
    boxed.fake.inject(lost());
    let unknown = create("a@customer.example").send().await.unwrap_err();
    assert!(unknown.may_have_happened());
    boxed.fake.inject(lost());
    let ensured = create("b@customer.example").ensure().await.unwrap();
    assert_eq!(ensured.change, Change::None);
    assert_eq!(boxed.count("POST", "/2.0/collaborations"), 3);
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

#[tokio::test]
async fn users_are_made_found_changed_and_deleted() {
    let boxed = Boxed::start().await;
    let users = boxed.client.users();
    let me = users.me().await.unwrap();
    assert_eq!(me.id.as_str(), "11111");
    let ann = users
        .create("Ann", "ann@example.com")
        .job_title("CFO")
        .send()
        .await
        .unwrap();
    let app = users
        .create_app_user("Robot")
        .external_app_user_id("r-1")
        .send()
        .await
        .unwrap();
    let taken = users
        .create("Ann", "ANN@example.com")
        .send()
        .await
        .unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    assert_eq!(
        users.by_login("Ann@Example.com").await.unwrap().unwrap().id,
        ann.id
    );
    assert!(users.by_login("ann@example.co").await.unwrap().is_none());
    let robots = users
        .list()
        .external_app_user_id("r-1")
        .fields(["is_platform_access_only"]);
    let robots = all(robots.stream()).await;
    assert_eq!(
        (&robots[0].id, robots[0].is_platform_access_only),
        (&app.id, Some(true))
    );
    let renamed = users
        .update(&ann.id)
        .name("Anna")
        .status(UserStatus::Inactive)
        .send()
        .await
        .unwrap();
    assert_eq!(renamed.name.as_deref(), Some("Anna"));
    assert_eq!(renamed.status, Some(UserStatus::Inactive));
    users
        .delete(&ann.id)
        .notify(false)
        .force(true)
        .send()
        .await
        .unwrap();
    assert_eq!(
        users.get(&ann.id).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn every_user_is_listed_once_through_all_pages() {
    let vendor = Vendor::start().await;
    let page = |ids: &[&str], next: serde_json::Value| {
        let entries: Vec<_> = ids
            .iter()
            .map(|id| json!({ "type": "user", "id": id }))
            .collect();
        reply(
            200,
            json!({ "entries": entries, "limit": 2, "next_marker": next }),
        )
    };
    let pages = [
        page(&["1", "2"], json!("a")),
        page(&[], json!("b")),
        page(&["3"], json!(null)),
    ];
    vendor.answers("GET", "/2.0/users", pages).await;
    let client = vendor.client();
    let ids: Vec<_> = all(client.users().list().stream())
        .await
        .into_iter()
        .map(|it| it.id)
        .collect();
    assert_eq!(
        ids.iter().map(UserId::as_str).collect::<Vec<_>>(),
        ["1", "2", "3"]
    );
    vendor.done().await;
}

#[tokio::test]
async fn groups_have_members_until_they_are_taken_out() {
    let boxed = Boxed::start().await;
    let groups = boxed.client.groups();
    let sales = groups
        .create("Sales")
        .description("who sells")
        .send()
        .await
        .unwrap();
    let taken = groups.create("Sales").send().await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);
    let jo = UserId::new("33333").unwrap();
    let membership = groups
        .add_member(&sales.id, &jo)
        .role(GroupRole::Admin)
        .send()
        .await
        .unwrap();
    assert_eq!(membership.role, Some(GroupRole::Admin));
    let twice = groups.add_member(&sales.id, &jo).send().await.unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Conflict);
    assert_eq!(all(groups.memberships(&sales.id)).await.len(), 1);
    let of_jo = all(groups.memberships_of(&jo)).await;
    assert_eq!(of_jo[0].group.as_ref().unwrap().id, sales.id);
    assert_eq!(
        all(groups.list().filter_term("sal").stream()).await.len(),
        1
    );
    assert!(
        all(groups.list().filter_term("x").stream())
            .await
            .is_empty()
    );
    groups.remove_member(&membership.id).await.unwrap();
    assert!(all(groups.memberships(&sales.id)).await.is_empty());
    assert_eq!(
        groups.get(&sales.id).await.unwrap().name.as_deref(),
        Some("Sales")
    );
    groups.delete(&sales.id).await.unwrap();
    assert_eq!(
        groups.get(&sales.id).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[tokio::test]
async fn comments_are_made_answered_changed_and_deleted() {
    let boxed = Boxed::start().await;
    let (comments, file) = (boxed.client.comments(), boxed.file("nda.pdf"));
    let first = comments.create(&file, "Please check").send().await.unwrap();
    let answer = comments
        .reply(&first.id, "Done")
        .tagged("@[33333:Jo] Done")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.is_reply_comment, Some(true));
    assert_eq!(all(comments.list(&file)).await.len(), 2);
    let changed = comments.update(&first.id, "Please sign").await.unwrap();
    assert_eq!(changed.message.as_deref(), Some("Please sign"));
    comments.delete(&answer.id).await.unwrap();
    assert_eq!(
        comments.get(&answer.id).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(
        comments.get(&first.id).await.unwrap().message.as_deref(),
        Some("Please sign")
    );
}

#[tokio::test]
async fn a_task_is_done_when_those_who_are_asked_say_so() {
    let boxed = Boxed::start().await;
    let (tasks, file) = (boxed.client.tasks(), boxed.file("nda.pdf"));
    let due = "2030-01-01T00:00:00Z".parse().unwrap();
    let task = tasks
        .create(&file)
        .action(TaskAction::Review)
        .message("Look")
        .due_at(due)
        .send()
        .await
        .unwrap();
    assert_eq!(task.is_completed, Some(false));
    let jo = tasks
        .assign(&task.id, &Assignee::Login("jo@example.com".to_owned()))
        .await
        .unwrap();
    let me = Assignee::User(UserId::new("11111").unwrap());
    let me = tasks.assign(&task.id, &me).await.unwrap();
    let misfit = tasks
        .resolve(&jo.id, &Resolution::Completed, None)
        .await
        .unwrap_err();
    assert_eq!(misfit.kind(), ErrorKind::Invalid);
    let said = tasks
        .resolve(&jo.id, &Resolution::Approved, Some("Fine"))
        .await
        .unwrap();
    assert_eq!(said.resolution_state, Some(Resolution::Approved));
    assert_eq!(
        tasks.assignment(&jo.id).await.unwrap().message.as_deref(),
        Some("Fine")
    );
    assert_eq!(tasks.get(&task.id).await.unwrap().is_completed, Some(false));
    tasks.unassign(&me.id).await.unwrap();
    let done = tasks
        .update(&task.id)
        .message("Looked")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (done.is_completed, done.task_assignment_collection.len()),
        (Some(true), 1)
    );
    assert_eq!(tasks.assignments(&task.id).await.unwrap().len(), 1);
    assert_eq!(tasks.list(&file).await.unwrap().len(), 1);
    tasks.delete(&task.id).await.unwrap();
    assert!(tasks.list(&file).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_sign_request_ends_by_signing_or_by_being_taken_back() {
    let boxed = Boxed::start().await;
    let (requests, file) = (boxed.client.sign_requests(), boxed.file("nda.pdf"));
    let create = || {
        let buyer = Signer::new("buyer@customer.example").order(1);
        let reader = Signer::new("legal@example.com").role(SignerRole::FinalCopyReader);
        let request = requests.create([file.clone()], [buyer, reader]);
        request
            .parent_folder(&boxed.folder)
            .external_id("006A")
            .name("NDA")
            .days_valid(30)
    };
    let first = create().send().await.unwrap();
    assert_eq!(first.status, Some(SignRequestStatus::Sent));
    assert_eq!(first.external_id.as_deref(), Some("006A"));
    assert_eq!(first.signers.len(), 2);
    requests.resend(&first.id).await.unwrap();
    boxed
        .fake
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
