use box_client::{
    Assignee, Collaboration, CollaborationRole, Collaborator, ErrorKind, GroupAccess, GroupRole,
    ItemId, Resolution, TaskAction, UserId, UserStatus,
};
use futures_util::TryStreamExt;
use serde_json::json;

use crate::{
    desk::{Desk, all},
    vendor::{Vendor, reply},
};

#[tokio::test]
async fn users_are_made_found_changed_and_deleted() {
    let desk = Desk::start().await;
    let users = desk.client.users();
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
    let desk = Desk::start().await;
    let groups = desk.client.groups();
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
async fn groups_and_what_users_are_in_them_are_changed() {
    let desk = Desk::start().await;
    let groups = desk.client.groups();
    let sales = groups.create("Sales").send().await.unwrap();
    groups.create("Legal").send().await.unwrap();
    let renamed = groups
        .update(&sales.id)
        .name("Field sales")
        .description("who sells")
        .provenance("Okta")
        .external_sync_identifier("okta:1")
        .invitability_level(GroupAccess::AdminsOnly)
        .member_viewability_level(GroupAccess::AllManagedUsers)
        .send()
        .await
        .unwrap();
    assert_eq!(renamed.name.as_deref(), Some("Field sales"));
    let same = groups.update(&sales.id).name("Field sales").send().await;
    same.unwrap();
    let taken = groups.update(&sales.id).name("Legal").send().await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::Conflict);
    let jo = UserId::new("33333").unwrap();
    let jo = groups.add_member(&sales.id, &jo).send().await.unwrap();
    assert_eq!(jo.role, Some(GroupRole::Member));
    groups
        .update_membership(&jo.id)
        .role(GroupRole::Admin)
        .configurable_permissions([("can_run_reports", false)])
        .send()
        .await
        .unwrap();
    let known = groups.membership(&jo.id).await.unwrap();
    assert_eq!(known.role, Some(GroupRole::Admin));
    assert_eq!(known.group.unwrap().name.as_deref(), Some("Field sales"));
    groups.remove_member(&jo.id).await.unwrap();
    let gone = groups.membership(&jo.id).await.unwrap_err();
    assert_eq!(gone.kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn what_a_group_works_on_is_listed_until_the_group_is_deleted() {
    let desk = Desk::start().await;
    let (groups, collaborations) = (desk.client.groups(), desk.client.collaborations());
    let sales = groups.create("Sales").send().await.unwrap().id;
    let other = groups.create("Legal").send().await.unwrap().id;
    let file = desk.file("nda.pdf");
    for (item, group) in [
        (ItemId::from(&desk.folder), &sales),
        (ItemId::from(&file), &sales),
        (ItemId::from(&file), &other),
    ] {
        let group = Collaborator::Group(group.clone());
        let invited = collaborations.create(item, group, CollaborationRole::Editor);
        invited.send().await.unwrap();
    }
    let found = all(collaborations.of_group(&sales)).await;
    let items: Vec<_> = found.iter().filter_map(Collaboration::item_id).collect();
    assert_eq!(items, [ItemId::from(&desk.folder), ItemId::from(&file)]);
    groups.delete(&sales).await.unwrap();
    assert_eq!(all(collaborations.on_file(&file)).await.len(), 1);
    let gone: Result<Vec<_>, _> = collaborations.of_group(&sales).try_collect().await;
    assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn comments_are_made_answered_changed_and_deleted() {
    let desk = Desk::start().await;
    let (comments, file) = (desk.client.comments(), desk.file("nda.pdf"));
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
    let desk = Desk::start().await;
    let (tasks, file) = (desk.client.tasks(), desk.file("nda.pdf"));
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
