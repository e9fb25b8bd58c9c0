use http::Method;
use jiff::{SignedDuration, Timestamp};
use salesforce_client::{QueryPage, Record, soql};

use super::Served;

pub(super) async fn try_all(served: &mut Served) {
    let client = served.client.clone();
    served.account("Umbrella (Holding)");
    let text = "SELECT Id, Name FROM Account WHERE Name LIKE 'Umbrella%'";
    let query = || client.query::<Record>(text);
    let first = served.ok("query/mod.rs first", query().first().await);
    assert_eq!(first.unwrap()["Name"], "Umbrella (Holding)");
    served.ok("query/mod.rs all", query().all(10).await);
    served.ok("client.rs query", query().all(10).await);
    served.all("query/mod.rs stream", query().stream()).await;
    served.all("query/mod.rs pages", query().pages()).await;
    let count = client.query::<Record>("SELECT COUNT() FROM Account WHERE Name LIKE 'Umbrella%'");
    assert_eq!(served.ok("query/mod.rs count", count.count().await), 1);
    served.ok("query/mod.rs explain", query().explain().await);

    (0..250).for_each(|_| drop(served.account("Paged")));
    let paged = || {
        client
            .query::<Record>(soql("SELECT Id FROM Account"))
            .batch_size(200)
    };
    let pages: Vec<QueryPage> = served.all("query/mod.rs pages", paged().pages()).await;
    let cursor = pages[0].cursor().unwrap();
    let rest = client.resume::<Record>(cursor).all(1000).await;
    let left = pages[1].rows::<Record>().unwrap().len();
    assert_eq!(served.ok("client.rs resume", rest).len(), left);

    let sosl = r"FIND {umbrella \(holding\)} IN NAME FIELDS RETURNING Account(Id, Name)";
    let found = served.ok("client.rs sosl", client.sosl::<Record>(sosl).await);
    assert_eq!(found.len(), 1);
    let search = || {
        let search = client
            .search("Umbrella (Holding)")
            .object("Account", &["Name"]);
        search.object_where(soql("Phone != :none").bind("none", "0"))
    };
    assert_eq!(
        served
            .ok("client.rs search", search().records().await)
            .len(),
        1
    );
    served.ok("search.rs send", search().send::<Record>().await);
    served.ok("search.rs records", search().records().await);

    let now = Timestamp::now();
    served.ok("client.rs describe_global", client.describe_global().await);
    let later = now + SignedDuration::from_hours(1);
    let global = client.describe_global_if_modified_since(later).await;
    assert!(
        served
            .ok("client.rs describe_global_if_modified_since", global)
            .is_none()
    );
    served.ok("client.rs limits", client.limits().await);
    let counts = client.record_counts(&["Account"]).await;
    assert!(served.ok("client.rs record_counts", counts)[0].count > 250);
    served.ok("client.rs versions", client.versions().await);
    served.ok("client.rs latest_version", client.latest_version().await);
    served.ok("client.rs access_token", client.access_token().await);

    let request = || client.request(Method::GET, "/limits");
    served.ok("client.rs request", request().send().await);
    served.ok("raw.rs send", request().send().await);
    let streamed = served.ok("raw.rs stream", request().stream().await);
    served.ok("files/download.rs bytes", streamed.bytes(1 << 20).await);
}
