//! Many records or calls in one, logins, and what else has bounds of its own.

use salesforce_client::testing::FakeSalesforce;
use serde_json::{Value, json};

use crate::support::{Session, encoded, refused, send};

fn records(count: usize) -> Vec<Value> {
    let record = json!({ "attributes": { "type": "Account" }, "Name": "a" });
    vec![record; count]
}

#[tokio::test]
async fn more_than_fits_is_refused_as_a_whole() {
    let session = Session::start().await;
    let part = json!({ "method": "GET", "url": "v58.0/limits" });
    for (path, body) in [
        ("composite/sobjects", json!({ "records": records(201) })),
        (
            "composite/batch",
            json!({ "batchRequests": vec![part; 26] }),
        ),
    ] {
        assert_eq!(session.post(path, body).await.status, 400, "{path}");
    }
    let ids = vec!["001000000000001"; 801].join(",");
    let query = encoded(&[("ids", &ids), ("fields", "Id")]);
    let answer = session
        .get(&format!("composite/sobjects/Account?{query}"))
        .await;
    assert_eq!(answer.error(), refused(400, "EXCEEDED_MAX_SIZE_REQUEST"));
    let read = |ids: usize| {
        let body = json!({ "ids": vec!["001000000000001"; ids], "fields": ["Id"] });
        session.post("composite/sobjects/Account", body)
    };
    assert_eq!(read(2000).await.json(), json!(vec![Value::Null; 2000]));
    let answer = read(2001).await;
    assert_eq!(answer.error(), refused(400, "EXCEEDED_MAX_SIZE_REQUEST"));
    assert!(session.fake.records("Account").is_empty());
}

#[tokio::test]
async fn a_batch_names_its_paths_without_their_beginning() {
    let session = Session::start().await;
    let part = |url: &str| json!({ "method": "GET", "url": url });
    let parts = [part("v58.0/limits"), part("/services/data/v58.0/limits")];
    let body = json!({ "batchRequests": parts });
    let answer = session.post("composite/batch", body).await.json();
    assert_eq!(answer["hasErrors"], true);
    assert_eq!(answer["results"][0]["statusCode"], 200);
    assert_eq!(answer["results"][1]["statusCode"], 404);
}

#[tokio::test]
async fn a_tree_tells_only_what_failed_and_leaves_nothing() {
    let session = Session::start().await;
    let child = json!({ "attributes": { "type": "Contact", "referenceId": "c" } });
    let parent = |relationship: &str| {
        let mut parent =
            json!({ "attributes": { "type": "Account", "referenceId": "a" }, "Name": "a" });
        parent[relationship] = json!({ "records": [child] });
        json!({ "records": [parent] })
    };
    let answer = session
        .post("composite/tree/Account", parent("Contacts"))
        .await;
    assert_eq!(answer.status, 400);
    let results = answer.json()["results"].clone();
    assert_eq!(results.as_array().unwrap().len(), 1);
    assert_eq!(results[0]["referenceId"], "c");
    let answer = session
        .post("composite/tree/Account", parent("Nothings"))
        .await;
    assert_eq!(answer.error(), refused(400, "INVALID_FIELD"));
    let twice = json!({ "records": [
        { "attributes": { "type": "Account", "referenceId": "a" }, "Name": "a" },
        { "attributes": { "type": "Account", "referenceId": "a" }, "Name": "b" },
    ] });
    let answer = session.post("composite/tree/Account", twice).await;
    assert_eq!(answer.error(), refused(400, "INVALID_INPUT"));
    assert!(session.fake.records("Account").is_empty());
}

#[tokio::test]
async fn sub_queries_are_of_one_level_and_of_known_relationships() {
    let session = Session::start().await;
    for (soql, code) in [
        (
            "SELECT Id, (SELECT Id FROM Nothings) FROM Account",
            "INVALID_TYPE",
        ),
        (
            "SELECT Id, (SELECT x FROM Contacts) FROM Account",
            "INVALID_FIELD",
        ),
        (
            "SELECT Id, (SELECT Id FROM Contacts FROM Account",
            "MALFORMED_QUERY",
        ),
        (
            "SELECT Id, (SELECT Id, (SELECT Id FROM Contacts) FROM Contacts) FROM Account",
            "MALFORMED_QUERY",
        ),
    ] {
        assert_eq!(
            session.query(soql).await.error(),
            refused(400, code),
            "{soql}"
        );
    }
}

#[tokio::test]
async fn windows_of_changes_have_their_bounds() {
    let session = Session::start().await;
    let now = jiff::Timestamp::now();
    let at = |hours: i64| (now - jiff::SignedDuration::from_hours(hours)).to_string();
    for (start, end, what, status) in [
        (at(1), at(0), "updated", 200),
        (at(0), at(1), "updated", 400),
        (at(1), at(1), "updated", 400),
        (at(31 * 24), at(0), "updated", 400),
        (at(16 * 24), at(0), "updated", 200),
        (at(16 * 24), at(0), "deleted", 400),
    ] {
        let query = encoded(&[("start", &start), ("end", &end)]);
        let answer = session
            .get(&format!("sobjects/Account/{what}?{query}"))
            .await;
        assert_eq!(answer.status, status, "{start} {end} {what}");
        if status == 400 {
            assert_eq!(answer.error().1, "INVALID_REPLICATION_DATE");
        }
    }
}

#[tokio::test]
async fn a_code_needs_its_proof_and_its_redirect() {
    let builder = FakeSalesforce::builder().client("public", "");
    let session = Session::with(builder.redirect_uri("public", "https://x.example/cb")).await;
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let http = http.build().unwrap();
    // Appendix B of RFC 7636.
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let query = encoded(&[
        ("response_type", "code"),
        ("client_id", "public"),
        ("redirect_uri", "https://x.example/cb"),
        ("scope", "api refresh_token"),
        ("state", "s"),
        ("code_challenge", challenge),
    ]);
    let authorize = session.url(&format!("/services/oauth2/authorize?{query}"));
    for (redirect, verifier, status) in [
        ("https://x.example/cb", verifier, 200),
        ("https://x.example/other", verifier, 400),
        ("https://x.example/cb", "x", 400),
    ] {
        let answer = http.get(&authorize).send().await.unwrap();
        assert_eq!(answer.status(), 302);
        let back = answer.headers()["location"].to_str().unwrap().to_owned();
        let back = reqwest::Url::parse(&back).unwrap();
        let part = |wanted: &str| {
            let mut pairs = back.query_pairs();
            pairs
                .find(|(name, _)| name == wanted)
                .unwrap()
                .1
                .into_owned()
        };
        assert_eq!(part("state"), "s");
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", "public"),
            ("code", &part("code")),
            ("redirect_uri", redirect),
            ("code_verifier", verifier),
        ];
        let request = session.http.post(session.url("/services/oauth2/token"));
        assert_eq!(send(request.form(&form)).await.status, status);
    }
}

#[tokio::test]
async fn uploads_of_the_user_interface_api_have_fixed_parts_and_keys_of_their_form() {
    let session = Session::start().await;
    let form = |json_part: &str, file_part: &str, json: Value| {
        format!(
            "--b\r\nContent-Disposition: form-data; name=\"{json_part}\"\r\n\
             Content-Type: application/json\r\n\r\n{json}\r\n--b\r\n\
             Content-Disposition: form-data; name=\"{file_part}\"; filename=\"a.pdf\"\r\n\
             Content-Type: application/octet-stream\r\n\r\nbytes\r\n--b--\r\n"
        )
    };
    let title = || json!({ "title": "a" });
    let key = "9f0e5c3a-7d1b-4c2e-8a6f-0123456789ab";
    for (body, key, status) in [
        (form("json", "fileData", title()), key, 201),
        (form("json", "fileData", title()), key, 201),
        (form("entity_content", "fileData", title()), "", 400),
        (form("json", "VersionData", title()), "", 400),
        (
            form("json", "fileData", json!({ "title": "a", "Key__c": "x" })),
            "",
            400,
        ),
        (form("json", "fileData", title()), "no uuid", 400),
    ] {
        let path = "ui-api/records/content-documents/content-versions";
        let mut request = session.request("POST", path);
        request = request.header("content-type", "multipart/form-data; boundary=b");
        if !key.is_empty() {
            request = request.header("idempotency-key", key);
        }
        assert_eq!(
            send(request.body(body.clone())).await.status,
            status,
            "{body}"
        );
    }
    assert_eq!(session.fake.files().len(), 1);
}
