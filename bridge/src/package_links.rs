//! What another integration on the CRM side knows of records and their folders.

use std::fmt::Debug;

use async_trait::async_trait;

use crate::{crm::Record, port_error::PortError};

/// The links between records and folders that the content vendor's own package keeps on the CRM
/// side. An org without the package has none.
#[async_trait]
pub trait PackageLinks: Debug + Send + Sync + 'static {
    /// The folder that the package shows on a record.
    async fn folder_of(&self, record: &Record) -> Result<Option<String>, PortError>;

    /// Makes the package show a folder on a record, where it shows none or `instead_of` this one;
    /// tells whether there is such a package. Not safe to repeat without a look.
    async fn show(
        &self,
        record: &Record,
        folder: &str,
        instead_of: Option<&str>,
    ) -> Result<bool, PortError>;
}
