//! ContentDocumentLinks: one by one, or 200 to a call.

use async_trait::async_trait;
use futures_util::future::join_all;
use salesforce_client::{Error, Linked, RecordId, SalesforceClient, ShareType, Visibility};
use serde_json::{Value, json};

use super::{
    failure::{is_duplicate_value, port_error},
    together::Carrier,
};
use crate::port_error::PortError;

const LINK: &str = "link the file in Salesforce";
/// How many records Salesforce takes in one call.
const CALL: usize = 200;

/// Shows files on records.
pub(super) struct Links {
    pub(super) client: SalesforceClient,
    pub(super) visibility: Visibility,
}

/// A file to show on a record.
pub(super) struct LinkRow {
    pub(super) document: RecordId,
    pub(super) record: RecordId,
}

#[async_trait]
impl Carrier for Links {
    type Row = LinkRow;
    type Answer = ();
    const DOING: &'static str = LINK;

    fn full(&self) -> usize {
        CALL
    }

    async fn carry(&self, rows: Vec<LinkRow>) -> Vec<Result<(), PortError>> {
        if let [LinkRow { document, record }] = &rows[..] {
            let files = self.client.files();
            let link = files.link(document, record, ShareType::Viewer);
            let linked = link.visibility(self.visibility.clone()).await;
            return vec![judged(linked.map(|linked| match linked {
                Linked::Created(_) | Linked::Already => {}
            }))];
        }
        let links: Vec<_> = rows
            .iter()
            .map(|row| new_link(row.document.as_str(), &row.record, &self.visibility))
            .collect();
        let calls: Vec<_> = links
            .chunks(CALL)
            .map(|some| self.in_a_call(some.to_vec()))
            .collect();
        join_all(calls).await.into_iter().flatten().collect()
    }
}

impl Links {
    async fn in_a_call(&self, links: Vec<Value>) -> Vec<Result<(), PortError>> {
        let object = self.client.sobject("ContentDocumentLink");
        // Salesforce refuses a second link, so what was not answered is asked for again.
        let rows = object.create_all(links).repeatable().send().await;
        let outcomes = rows.into_iter().map(|row| row.outcome.map(drop));
        outcomes.map(judged).collect()
    }
}

/// The fields of a link. The document can be one that the same call will know.
pub(super) fn new_link(document: &str, record: &RecordId, visibility: &Visibility) -> Value {
    json!({
        "ContentDocumentId": document,
        "LinkedEntityId": record,
        "ShareType": ShareType::Viewer,
        "Visibility": visibility,
    })
}

fn judged(linked: Result<(), Error>) -> Result<(), PortError> {
    match linked {
        // It is there already.
        Err(error) if is_duplicate_value(&error) => Ok(()),
        linked => linked.map_err(|error| port_error(LINK, error)),
    }
}
