use serde_json::json;

use super::{Files, Linked, ShareType, Visibility};
use crate::{Record, RecordId, Row, SObjects, api_error::ErrorCode};

impl Files<'_> {
    /// Shows a file on many records, 200 to a call. As with [`link`](Self::link) a record that
    /// shows it already is [`Linked::Already`], so the whole can be repeated without harm.
    ///
    /// ```no_run
    /// # use salesforce_client::{RecordId, SalesforceClient, ShareType};
    /// # async fn example(client: SalesforceClient, file: RecordId, records: Vec<RecordId>) {
    /// for row in client.files().link_all(&file, records, ShareType::Viewer).await {
    ///     if let Err(error) = row.outcome {
    ///         println!("{} does not show it: {error}", row.input);
    ///     }
    /// }
    /// # }
    /// ```
    pub async fn link_all(
        &self,
        document: &RecordId,
        records: impl IntoIterator<Item = RecordId>,
        share_type: ShareType,
    ) -> Vec<Row<RecordId, Linked>> {
        let records: Vec<RecordId> = records.into_iter().collect();
        let links = records.iter().map(|record| {
            json!({
                "ContentDocumentId": document,
                "LinkedEntityId": record,
                "ShareType": share_type,
                "Visibility": Visibility::AllUsers,
            })
        });
        let rows = SObjects::<Record>::new(self.transport, "ContentDocumentLink")
            .create_all(links)
            .repeatable()
            .send()
            .await;
        let outcomes = rows.into_iter().map(|row| match row.outcome {
            Ok(saved) => Ok(Linked::Created(saved.id)),
            Err(error) if error.has_code(&ErrorCode::DUPLICATE_VALUE) => Ok(Linked::Already),
            Err(error) => Err(error),
        });
        let rows = records.into_iter().zip(outcomes);
        rows.map(|(input, outcome)| Row { input, outcome })
            .collect()
    }
}
