//! The two clients, with nothing of the bridge between them.

use box_client::{BoxClient, DeveloperToken, FileId};
use bridge_benches::{Failure, sample::SampleFile};
use salesforce_client::{SalesforceClient, StaticToken};

use crate::Form;

#[derive(Clone, Debug)]
pub(crate) struct Clients {
    pub(crate) content: BoxClient,
    pub(crate) crm: SalesforceClient,
}

impl Clients {
    pub(crate) fn new(url: &str) -> Result<Self, Failure> {
        Ok(Self {
            content: BoxClient::builder(DeveloperToken::new("token"))
                .base_url(url)
                .build()?,
            crm: SalesforceClient::new(StaticToken::new("token", url)?)?,
        })
    }

    pub(crate) async fn carry(self, file: SampleFile, form: Form) -> Result<(), Failure> {
        let id = FileId::new(&file.id)?;
        let download = self.content.files().download(&id).expect_sha1(file.sha1);
        let download = download.send().await?;
        let size = download.size().ok_or("no length")?;
        self.crm
            .files()
            .upload("contract.pdf")
            .strategy(form.strategy())
            .send(download.into_stream(), size)
            .await?;
        Ok(())
    }
}
