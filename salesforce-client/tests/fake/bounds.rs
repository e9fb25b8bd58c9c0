//! What the org takes no more of.

use reqwest::redirect::Policy;
use salesforce_client::testing::{FakeSalesforce, Field};
use serde_json::{Value, json};

use crate::support::{Answer, Session, encoded, refused, send};

#[tokio::test]
async fn a_composite_holds_five_queries_and_collections() {
    let session = Session::start().await;
    let composite = |parts: usize| {
        let urls = [
            "/services/data/v58.0/query?q=SELECT+Id+FROM+Account",
            "/services/data/v58.0/composite/sobjects?ids=0015g00000000001AAA",
        ];
        let part = |number: usize| {
            let method = ["GET", "DELETE"][number % 2];
            json!({ "method": method, "url": urls[number % 2], "referenceId": format!("r{number}") })
        };
        json!({ "compositeRequest": (0..parts).map(part).collect::<Value>() })
    };
    assert_eq!(session.post("composite", composite(5)).await.status, 200);
    let refusal = session.post("composite", composite(6)).await;
    assert_eq!(refusal.error(), refused(400, "LIMIT_EXCEEDED"));
}

#[tokio::test]
async fn a_collection_changes_its_type_ten_times_at_most() {
    let session = Session::start().await;
    let records = |chunks: usize| {
        let record = |number: usize| match number % 2 {
            0 => json!({ "attributes": { "type": "Account" }, "Name": "Acme" }),
            _ => json!({ "attributes": { "type": "Contact" }, "LastName": "Ray" }),
        };
        let twice = (0..chunks).flat_map(|number| [record(number), record(number)]);
        json!({ "records": twice.collect::<Value>() })
    };
    let refusal = session.post("composite/sobjects", records(11)).await;
    assert_eq!(refusal.error(), refused(400, "LIMIT_EXCEEDED"));
    assert!(session.fake.records("Account").is_empty());
    let taken = session.post("composite/sobjects", records(10)).await;
    assert_eq!(taken.status, 200);
    assert_eq!(session.fake.records("Contact").len(), 10);
}

#[tokio::test]
async fn a_text_in_a_query_has_four_thousand_letters_at_most() {
    let session = Session::start().await;
    for (letters, status) in [(4000, 200), (4001, 400)] {
        let soql = format!(
            "SELECT Id FROM Account WHERE Name = '{}'",
            "x".repeat(letters)
        );
        assert_eq!(session.query(&soql).await.status, status, "{letters}");
    }
}

#[tokio::test]
async fn an_object_has_twenty_five_external_ids() {
    let session = Session::start().await;
    let key = |number: u32| Field::text(format!("Key{number}__c"), 10).external_id(true);
    for number in 0..25 {
        session
            .fake
            .add_custom_field("Account", key(number))
            .unwrap();
    }
    let refusal = session
        .fake
        .add_custom_field("Account", key(25))
        .unwrap_err();
    assert_eq!(refusal.errors[0].code, "LIMIT_EXCEEDED");
    let plain = Field::text("Plain__c", 10);
    session.fake.add_custom_field("Account", plain).unwrap();
}

#[tokio::test]
async fn owners_are_active_and_events_end_within_two_weeks() {
    let session = Session::start().await;
    let gone = json!({
        "Username": "gone@example.com", "LastName": "Gone", "Email": "gone@example.com",
        "IsActive": false,
    });
    let gone = session.fake.create("User", gone).unwrap();
    let owned = json!({ "Name": "Acme", "OwnerId": gone });
    let refusal = session.create("Account", owned).await;
    assert_eq!(refusal.error(), refused(400, "INACTIVE_OWNER_OR_USER"));
    let fits = refused(201, "");
    let too_long = refused(400, "FIELD_INTEGRITY_EXCEPTION");
    for (end, outcome) in [
        (json!({ "DurationInMinutes": 14 * 24 * 60 }), &fits),
        (json!({ "DurationInMinutes": 14 * 24 * 60 + 1 }), &too_long),
        (json!({ "EndDateTime": "2026-02-14T08:00:00Z" }), &fits),
        (json!({ "EndDateTime": "2026-02-14T08:00:01Z" }), &too_long),
        (json!({ "EndDateTime": "2026-01-31T07:59:59Z" }), &too_long),
    ] {
        let mut event = json!({ "Subject": "Call", "StartDateTime": "2026-01-31T08:00:00Z" });
        event
            .as_object_mut()
            .unwrap()
            .extend(end.as_object().unwrap().clone());
        assert_eq!(
            session.create("Event", event).await.error(),
            *outcome,
            "{end}"
        );
    }
}

#[tokio::test]
async fn what_is_deleted_hard_is_in_no_bin() {
    let session = Session::start().await;
    for (operation, in_bin) in [("delete", 1), ("hardDelete", 0)] {
        let account = session.account(operation);
        let job = json!({ "object": "Account", "operation": operation });
        let job = session.post("jobs/ingest", job).await.json();
        let job = format!("jobs/ingest/{}", job["id"].as_str().unwrap());
        let put = session.request("PUT", &format!("{job}/batches"));
        let put = put.header("content-type", "text/csv");
        assert_eq!(send(put.body(format!("Id\n{account}\n"))).await.status, 201);
        session
            .patch(&job, json!({ "state": "UploadComplete" }))
            .await;
        session.get(&job).await;
        let done = session.get(&job).await.json();
        assert_eq!(
            (&done["state"], &done["numberRecordsFailed"]),
            (&json!("JobComplete"), &json!(0))
        );
        assert_eq!(session.fake.record(&account), None);
        let soql = format!("SELECT Id FROM Account WHERE Name = '{operation}'");
        let all = session
            .get(&format!("queryAll?{}", encoded(&[("q", &soql)])))
            .await;
        assert_eq!(all.json()["totalSize"], in_bin, "{operation}");
        assert_eq!(session.fake.undelete(&account).is_ok(), in_bin == 1);
    }
}

const CALLBACK: &str = "http://localhost:8080/callback";

async fn login(session: &Session, callback: &str, scope: &str) -> Answer {
    let browser = reqwest::Client::builder().redirect(Policy::none());
    let query = [
        ("response_type", "code"),
        ("client_id", "app"),
        ("redirect_uri", callback),
        ("scope", scope),
    ];
    let url = session.url(&format!("/services/oauth2/authorize?{}", encoded(&query)));
    let answer = send(browser.build().unwrap().get(url)).await;
    let location = url::Url::parse(answer.header("location").unwrap()).unwrap();
    let code = location
        .query_pairs()
        .find(|(name, _)| name == "code")
        .unwrap();
    token(
        session,
        &[
            ("grant_type", "authorization_code"),
            ("code", &*code.1),
            ("redirect_uri", callback),
        ],
    )
    .await
}

async fn token(session: &Session, form: &[(&str, &str)]) -> Answer {
    let mut form = form.to_vec();
    form.extend([("client_id", "app"), ("client_secret", "secret")]);
    let url = session.url("/services/oauth2/token");
    send(session.http.post(url).form(&form)).await
}

#[tokio::test]
async fn a_sixth_login_ends_the_oldest_however_often_that_was_refreshed() {
    let builder = FakeSalesforce::builder()
        .client("app", "secret")
        .redirect_uri("app", CALLBACK)
        .rotate_refresh_tokens(true);
    let session = Session::with(builder).await;
    let part = |answer: &Answer, name: &str| answer.json()[name].as_str().unwrap().to_owned();
    let mut grants = Vec::new();
    for _ in 0..5 {
        grants.push(part(
            &login(&session, CALLBACK, "api refresh_token").await,
            "refresh_token",
        ));
    }
    let refreshed = token(
        &session,
        &[
            ("grant_type", "refresh_token"),
            ("refresh_token", &grants[0]),
        ],
    )
    .await;
    let (oldest, access) = (
        part(&refreshed, "refresh_token"),
        part(&refreshed, "access_token"),
    );
    assert!(session.fake.is_living(&oldest) && session.fake.is_living(&access));
    login(&session, CALLBACK, "api refresh_token").await;
    assert!(!session.fake.is_living(&oldest) && !session.fake.is_living(&access));
    assert!(
        grants[1..]
            .iter()
            .all(|grant| session.fake.is_living(grant))
    );
}

#[tokio::test]
async fn a_login_without_the_scope_of_the_api_does_not_open_it() {
    let builder = FakeSalesforce::builder()
        .client("app", "secret")
        .redirect_uri("app", CALLBACK);
    let session = Session::with(builder).await;
    let opens = async |token: &Value| {
        let request = session.http.get(session.url("limits"));
        send(request.bearer_auth(token.as_str().unwrap())).await
    };
    for (scope, status) in [
        ("", 200),
        ("api refresh_token", 200),
        ("full refresh_token", 200),
        ("id refresh_token", 401),
    ] {
        let granted = login(&session, CALLBACK, scope).await.json();
        let answer = opens(&granted["access_token"]).await;
        assert_eq!(answer.status, status, "{scope}");
        let Some(refresh_token) = granted["refresh_token"].as_str() else {
            continue;
        };
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token),
        ];
        let refreshed = token(&session, &form).await.json();
        assert_eq!(
            opens(&refreshed["access_token"]).await.status,
            status,
            "{scope}"
        );
        if status == 401 {
            assert!(
                answer
                    .message()
                    .contains("not valid for use with the REST API")
            );
        }
    }
}

#[tokio::test]
async fn an_outbound_message_is_about_one_object_and_fields_of_it() {
    let session = Session::start().await;
    let (account, deal) = (session.account("Acme"), session.opportunity());
    let action = "04kxx0000000001AAA";
    let message = |records: &[&str], fields: &[&str]| {
        let message = session.fake.outbound_message(action, records, fields);
        message.map_err(|refusal| refusal.errors[0].code.clone())
    };
    assert!(message(&[&account], &["Name"]).is_ok());
    for (records, fields, code) in [
        (&[&*account, &*deal][..], "Name", "INVALID_TYPE"),
        (&[&account], "StageName", "INVALID_FIELD"),
        (&[], "Name", "LIMIT_EXCEEDED"),
    ] {
        assert_eq!(message(records, &[fields]), Err(code.to_owned()));
    }
}
