use http::Method;
use jiff::{SignedDuration, Timestamp};
use salesforce_client::{QueryPage, Record, soql};

use super::Served;

pub(super) async fn try_all(served: &mut Served) {
    let client = served.client.clone();
    served.account("Umbrella (Holding)");
    let text = "SELECT Id, Name FROM Account WHERE Name LIKE 'Umbrella%'";
    let query = || client.query::<Record>(text);
    let first = served.ok("Query::first", query().first().await);
    assert_eq!(first.unwrap()["Name"], "Umbrella (Holding)");
    served.ok("Query::all", query().all(10).await);
    served.ok("SalesforceClient::query", query().all(10).await);
    served.all("Query::stream", query().stream()).await;
    served.all("Query::pages", query().pages()).await;
    let count = client.query::<Record>("SELECT COUNT() FROM Account WHERE Name LIKE 'Umbrella%'");
    assert_eq!(served.ok("Query::count", count.count().await), 1);
    served.ok("Query::explain", query().explain().await);

    (0..250).for_each(|_| drop(served.account("Paged")));
    let paged = || {
        client
            .query::<Record>(soql("SELECT Id FROM Account"))
            .batch_size(200)
    };
    let pages: Vec<QueryPage> = served.all("Query::pages", paged().pages()).await;
    let cursor = pages[0].cursor().unwrap();
    let rest = client.resume::<Record>(cursor).all(1000).await;
    let left = pages[1].rows::<Record>().unwrap().len();
    assert_eq!(served.ok("SalesforceClient::resume", rest).len(), left);

    let sosl = r"FIND {umbrella \(holding\)} IN NAME FIELDS RETURNING Account(Id, Name)";
    let found = served.ok("SalesforceClient::sosl", client.sosl::<Record>(sosl).await);
    assert_eq!(found.len(), 1);
    let search = || {
        let search = client
            .search("Umbrella (Holding)")
            .object("Account", &["Name"]);
        search.object_where(soql("Phone != :none").bind("none", "0"))
    };
    assert_eq!(
        served
            .ok("SalesforceClient::search", search().records().await)
            .len(),
        1
    );
    served.ok("Search::send", search().send::<Record>().await);
    served.ok("Search::records", search().records().await);

    let now = Timestamp::now();
    served.ok(
        "SalesforceClient::describe_global",
        client.describe_global().await,
    );
    let later = now + SignedDuration::from_hours(1);
    let global = client.describe_global_if_modified_since(later).await;
    assert!(
        served
            .ok(
                "SalesforceClient::describe_global_if_modified_since",
                global
            )
            .is_none()
    );
    served.ok("SalesforceClient::limits", client.limits().await);
    let counts = client.record_counts(&["Account"]).await;
    assert!(served.ok("SalesforceClient::record_counts", counts)[0].count > 250);
    served.ok("SalesforceClient::versions", client.versions().await);
    served.ok(
        "SalesforceClient::latest_version",
        client.latest_version().await,
    );
    served.ok(
        "SalesforceClient::access_token",
        client.access_token().await,
    );

    let request = || client.request(Method::GET, "/limits");
    served.ok("SalesforceClient::request", request().send().await);
    served.ok("RawRequest::send", request().send().await);
    let streamed = served.ok("RawRequest::stream", request().stream().await);
    served.ok("Download::bytes", streamed.bytes(1 << 20).await);
}
