use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use salesforce_client::{SalesforceClient, StaticToken};
use serde_json::{Value, json};

use crate::support::{Answer, Session, encoded, refused};

async fn sosl(session: &Session, text: &str) -> Answer {
    session
        .get(&format!("search?{}", encoded(&[("q", text)])))
        .await
}

fn names(answer: &Answer) -> Vec<String> {
    let found = answer.json()["searchRecords"].take();
    let found: Vec<Value> = serde_json::from_value(found).unwrap();
    let name = |record: &Value| record["Name"].as_str().unwrap().to_owned();
    found.iter().map(name).collect()
}

#[tokio::test]
async fn words_are_found_as_the_search_combines_them() {
    let session = Session::start().await;
    for name in ["Acme Import", "Acme (Holding)", "Acmeville", "R&D Holding"] {
        session.account(name);
    }
    for (words, found) in [
        ("acme", vec!["Acme Import", "Acme (Holding)"]),
        ("acme*", vec!["Acme Import", "Acme (Holding)", "Acmeville"]),
        ("ac?e import", vec!["Acme Import"]),
        (r"Acme \(Holding\)", vec!["Acme (Holding)"]),
        (r"r\&d", vec!["R&D Holding"]),
        (r"not\& acme", vec![]),
        (r"acme OR \&", vec!["Acme Import", "Acme (Holding)"]),
        (r"import AND NOT (\& OR \+)", vec!["Acme Import"]),
        ("\"import acme\"", vec![]),
        ("\"acme import\"", vec!["Acme Import"]),
        (
            "import OR holding",
            vec!["Acme Import", "Acme (Holding)", "R&D Holding"],
        ),
        ("holding and not acme", vec!["R&D Holding"]),
        (
            "acme AND (import OR holding)",
            vec!["Acme Import", "Acme (Holding)"],
        ),
        (
            "import OR acme AND holding",
            vec!["Acme Import", "Acme (Holding)"],
        ),
        ("other", vec![]),
    ] {
        let text = format!("FIND {{{words}}} IN NAME FIELDS RETURNING Account(Name)");
        let answer = sosl(&session, &text).await;
        assert_eq!(names(&answer), found, "{words}");
        let parameters = json!({
            "q": words, "in": "NAME", "sobjects": [{ "name": "Account", "fields": ["Name"] }],
        });
        let answer = session.post("parameterizedSearch", parameters).await;
        assert_eq!(names(&answer), found, "{words}");
    }
}

#[tokio::test]
async fn a_search_that_the_org_would_refuse_is_refused() {
    let session = Session::start().await;
    for (words, code) in [
        ("a", "INVALID_SEARCH"),
        ("a*", "INVALID_SEARCH"),
        (r"\&\&", "INVALID_SEARCH"),
        ("", "INVALID_SEARCH"),
        ("*acme", "MALFORMED_SEARCH"),
        ("acme (", "MALFORMED_SEARCH"),
        ("acme)", "MALFORMED_SEARCH"),
        ("acme AND", "MALFORMED_SEARCH"),
        ("acme NOT import", "MALFORMED_SEARCH"),
        ("OR acme", "MALFORMED_SEARCH"),
        ("\"acme", "MALFORMED_SEARCH"),
        ("o'hara", "MALFORMED_SEARCH"),
        ("re-sale", "MALFORMED_SEARCH"),
        ("r&d", "MALFORMED_SEARCH"),
        (r"ac\me", "MALFORMED_SEARCH"),
    ] {
        let text = format!("FIND {{{words}}}");
        let answer = sosl(&session, &text).await;
        assert_eq!(answer.error(), refused(400, code), "{words}");
        let answer = session
            .post("parameterizedSearch", json!({ "q": words }))
            .await;
        assert_eq!(answer.error(), refused(400, code), "{words}");
    }
    for (text, code) in [
        ("SELECT Id FROM Account", "MALFORMED_SEARCH"),
        ("FIND acme", "MALFORMED_SEARCH"),
        ("FIND {acme", "MALFORMED_SEARCH"),
        (r"FIND {acme\}", "MALFORMED_SEARCH"),
        ("FIND {acme {holding}}", "MALFORMED_SEARCH"),
        (
            "FIND {acme} IN ALL TYPE RETURNING Account(Name)",
            "MALFORMED_SEARCH",
        ),
        ("FIND {acme} IN EVERY FIELDS", "INVALID_SEARCH_SCOPE"),
        ("FIND {acme} RETURNING", "MALFORMED_SEARCH"),
        ("FIND {acme} RETURNING Account()", "MALFORMED_SEARCH"),
        ("FIND {acme} RETURNING Account(Name", "MALFORMED_SEARCH"),
        (
            "FIND {acme} RETURNING Account(Name) LIMIT",
            "MALFORMED_SEARCH",
        ),
        (
            "FIND {acme} RETURNING Account(Name) ORDER BY Name",
            "MALFORMED_SEARCH",
        ),
        (
            "FIND {acme} RETURNING Account(Name WHERE Name = 'x)",
            "MALFORMED_SEARCH",
        ),
        ("FIND {acme} RETURNING Account(Colour)", "INVALID_FIELD"),
        (
            "FIND {acme} RETURNING Account(Name WHERE Colour = 'x')",
            "INVALID_FIELD",
        ),
        ("FIND {acme} RETURNING Nothing(Name)", "INVALID_TYPE"),
        (
            "FIND {acme} RETURNING TaskStatus(Id)",
            "INVALID_TYPE_FOR_OPERATION",
        ),
        (
            "FIND {acme} RETURNING Account(Id OFFSET 1), Contact(Id)",
            "MALFORMED_SEARCH",
        ),
    ] {
        let answer = sosl(&session, text).await;
        assert_eq!(answer.error(), refused(400, code), "{text}");
    }
    let place = sosl(&session, "FIND {acme} IN ALL TYPE").await.message();
    assert!(place.contains("ERROR at Row:1:Column:20"), "{place}");
    for parameters in [
        json!({ "q": "acme", "colour": "red" }),
        json!({ "q": "acme", "sobjects": [{ "name": "Account", "colour": "red" }] }),
        json!({ "q": "acme", "fields": ["Name"] }),
        json!({ "q": "acme", "overallLimit": 2001 }),
        json!({ "q": "acme", "sobjects": [{ "name": "Account", "where": "Name = 'x' LIMIT 1" }] }),
        json!({ "q": "acme", "sobjects": [{ "name": "Account", "orderBy": "Name LIMIT 1" }] }),
        json!({ "q": "acme", "sobjects": [{ "name": "Account", "fields": ["Name, Id"] }] }),
    ] {
        let answer = session
            .post("parameterizedSearch", parameters.clone())
            .await;
        assert_eq!(answer.status, 400, "{parameters}");
    }
}

/// Accounts of one name with ascending numbers, and contacts of it.
async fn numbered() -> Session {
    let session = Session::start().await;
    for number in 0..5 {
        let account = json!({ "Name": "Acme", "NumberOfEmployees": number });
        session.fake.create("Account", account).unwrap();
    }
    for _ in 0..9 {
        let contact = json!({ "LastName": "Acme" });
        session.fake.create("Contact", contact).unwrap();
    }
    session
}

fn numbers(answer: &Answer) -> Vec<i64> {
    let found = answer.json();
    let found = found["searchRecords"].as_array().unwrap();
    let number = |record: &Value| record["NumberOfEmployees"].as_i64().unwrap();
    found.iter().map(number).collect()
}

#[tokio::test]
async fn what_is_asked_of_an_object_acts() {
    let session = numbered().await;
    let clauses = "NumberOfEmployees WHERE NumberOfEmployees > 0 ORDER BY NumberOfEmployees DESC";
    for (more, found) in [
        ("", vec![4, 3, 2, 1]),
        ("LIMIT 2", vec![4, 3]),
        ("LIMIT 2 OFFSET 1", vec![3, 2]),
    ] {
        let text = format!("FIND {{acme}} RETURNING Account({clauses} {more})");
        assert_eq!(numbers(&sosl(&session, &text).await), found, "{more}");
    }
    let parameters = |more: Value| {
        let mut object = json!({
            "name": "Account",
            "fields": ["NumberOfEmployees"],
            "where": "NumberOfEmployees > 0",
            "orderBy": "NumberOfEmployees DESC",
        });
        object
            .as_object_mut()
            .unwrap()
            .extend(more.as_object().unwrap().clone());
        json!({ "q": "acme", "defaultLimit": 3, "sobjects": [object] })
    };
    for (more, found) in [
        (json!({}), vec![4, 3, 2]),
        (json!({ "limit": 1 }), vec![4]),
        (json!({ "where": "NumberOfEmployees < 1" }), vec![0]),
        (json!({ "orderBy": "NumberOfEmployees" }), vec![1, 2, 3]),
    ] {
        let answer = session
            .post("parameterizedSearch", parameters(more.clone()))
            .await;
        assert_eq!(numbers(&answer), found, "{more}");
    }
}

#[tokio::test]
async fn objects_share_the_limit_and_without_fields_there_are_ids() {
    let session = numbered().await;
    let shares = async |text: &str| {
        let answer = sosl(&session, text).await.json();
        let found = answer["searchRecords"].as_array().unwrap().clone();
        for record in &found {
            assert_eq!(record.as_object().unwrap().len(), 2, "{record}");
        }
        let of = |object: &str| {
            found
                .iter()
                .filter(|it| it["attributes"]["type"] == object)
                .count()
        };
        (of("Account"), of("Contact"))
    };
    assert_eq!(shares("FIND {acme}").await, (5, 9));
    assert_eq!(shares("FIND {acme} LIMIT 6").await, (3, 3));
    assert_eq!(
        shares("FIND {acme} RETURNING Account, Contact LIMIT 12").await,
        (5, 7)
    );
    assert_eq!(
        shares("FIND {acme} RETURNING Contact(Id LIMIT 2), Account").await,
        (5, 2)
    );
    let old = session
        .get("/services/data/v36.0/search?q=FIND+%7Bacme%7D")
        .await;
    assert_eq!(old.json().as_array().unwrap().len(), 14);
}

#[test]
fn no_words_of_a_search_are_operators() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(1).enable_all().build().unwrap();
    let session = runtime.block_on(Session::start());
    let token = StaticToken::new(session.token.as_str(), session.fake.url()).unwrap();
    let client = SalesforceClient::new(token).unwrap();
    let words = prop_oneof![
        "\\PC{0,12}",
        r#"(AND|or|Not|a|bc|[?&|!{}()\[\]^~*:\\"'+-]| ){0,9}"#,
    ];
    let mut runner = TestRunner::new(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let outcome = runner.run(&words, |words| {
        let contact = json!({ "LastName": "Ray", "Title": words });
        let contact = session.fake.create("Contact", contact).unwrap();
        let search = client.search(&*words).object("Contact", &["Title"]);
        let found = runtime.block_on(search.records());
        session.fake.delete(&contact).unwrap();
        match found {
            Ok(found) => prop_assert_eq!(found.len(), 1),
            // Too little to be searched for, as the client or the org finds.
            Err(error) if error.status().is_none() => {}
            Err(error) => {
                let code = error.api().and_then(|api| api.code());
                let code = code.map(|code| code.as_str().to_owned());
                prop_assert_eq!(code.as_deref(), Some("INVALID_SEARCH"));
            }
        }
        Ok(())
    });
    outcome.unwrap();
}
