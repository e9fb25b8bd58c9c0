//! Box for Salesforce, the package that Box publishes itself, and its folder records (FRUP).

use async_trait::async_trait;
use salesforce_client::{Error, RecordId, soql};
use serde::Deserialize;
use serde_json::json;

use crate::{
    crm::Record,
    package_links::PackageLinks,
    port_error::PortError,
    salesforce_crm::{SalesforceCrm, port_error},
};

const OBJECT: &str = "box__FRUP__c";
const RECORD: &str = "box__Record_ID__c";
const FOLDER: &str = "box__Folder_ID__c";
/// An id without the three letters at its end, as old code writes it.
const SHORT_ID: usize = 15;
/// Folders of one record that are looked through.
const MOST_ROWS: usize = 50;

#[async_trait]
impl PackageLinks for SalesforceCrm {
    async fn folder_of(&self, record: &Record) -> Result<Option<String>, PortError> {
        const DOING: &str = "look for the package's folder in Salesforce";
        let rows = self.folder_records(record).await;
        match rows {
            Ok(rows) => Ok(rows.into_iter().find_map(|row| row.folder)),
            Err(error) if is_not_installed(&error) => Ok(None),
            Err(error) => Err(port_error(DOING, error)),
        }
    }

    async fn show(
        &self,
        record: &Record,
        folder: &str,
        instead_of: Option<&str>,
    ) -> Result<bool, PortError> {
        const DOING: &str = "tell the package of the folder in Salesforce";
        let package = self.client().sobject(OBJECT);
        let told = match instead_of {
            None => {
                let fields = json!({ RECORD: record.id, FOLDER: folder });
                package.create(&fields).await.map(drop)
            }
            Some(other) => {
                let change = async |rows: Vec<FolderRecord>| {
                    for row in rows {
                        if row.folder.as_deref() == Some(other) {
                            package.update(&row.id, &json!({ FOLDER: folder })).await?;
                        }
                    }
                    Ok(())
                };
                match self.folder_records(record).await {
                    Ok(rows) => change(rows).await,
                    Err(error) => Err(error),
                }
            }
        };
        match told {
            Ok(()) => Ok(true),
            Err(error) if is_not_installed(&error) => Ok(false),
            Err(error) => Err(port_error(DOING, error)),
        }
    }
}

/// What the package knows of one record and one folder.
#[derive(Deserialize)]
struct FolderRecord {
    #[serde(rename = "Id")]
    id: RecordId,
    #[serde(rename = "box__Folder_ID__c")]
    folder: Option<String>,
}

impl SalesforceCrm {
    async fn folder_records(&self, record: &Record) -> Result<Vec<FolderRecord>, Error> {
        let query = soql(format!(
            "SELECT Id, {FOLDER} FROM {OBJECT} WHERE {RECORD} = :id OR {RECORD} = :short"
        ));
        let short = record.id.get(..SHORT_ID).unwrap_or(&record.id);
        let query = query.bind("id", &record.id).bind("short", short);
        let rows = self.client().query::<FolderRecord>(query);
        let mut rows = rows.all(MOST_ROWS).await?;
        rows.retain(|row| row.folder.as_ref().is_some_and(|it| !it.is_empty()));
        Ok(rows)
    }
}

/// The package is not there, or is hidden from us, which reads the same: a query says
/// `INVALID_TYPE` or `INVALID_FIELD`, a path `NOT_FOUND`.
fn is_not_installed(error: &Error) -> bool {
    let code = error.api().and_then(|api| api.code());
    code.is_some_and(|code| {
        matches!(
            code.as_str(),
            "INVALID_TYPE" | "INVALID_FIELD" | "NOT_FOUND"
        )
    })
}
