//! Box Sign: documents that people are asked to sign.

use futures_core::Stream;
use http::Method;
use jiff::Timestamp;
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    FileId, FileMini, FolderId, FolderMini, SignRequestId, call::Call, error::Result,
    open_enum::open_enum, paging, transport::Transport,
};

/// Calls on sign requests, with scope `sign_requests.readwrite` and read and write access to
/// files. From [`BoxClient::sign_requests`](crate::BoxClient::sign_requests).
///
/// Vendor: <https://developer.box.com/reference/resources/sign-request/>. Every signer's action
/// adds a version to the file, so uploads are seen before the request is done.
///
/// ```no_run
/// use box_client::{BoxClient, FileId, FolderId, Signer};
///
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let request = client
///     .sign_requests()
///     .create([FileId::new("777000111")?], [Signer::new("buyer@customer.example")])
///     .parent_folder(&FolderId::new("101")?)
///     .external_id("006000000000001AAA")
///     .send()
///     .await?;
/// println!("{}: {:?}", request.id, request.status);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SignRequests<'a> {
    transport: &'a Transport,
}

const LIST_LIMIT: &str = "1000";

impl<'a> SignRequests<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self { transport }
    }

    /// Asks people to sign files: up to 10 files and 35 signers.
    ///
    /// Vendor: <https://developer.box.com/reference/post-sign-requests/>. A hundred a minute are
    /// allowed per user.
    pub fn create(
        &self,
        files: impl IntoIterator<Item = FileId>,
        signers: impl IntoIterator<Item = Signer>,
    ) -> CreateSignRequest<'a> {
        let file = |id| json!({ "type": "file", "id": id });
        let files: Vec<Value> = files.into_iter().map(|id: FileId| file(id)).collect();
        let signers: Vec<Value> = signers.into_iter().map(|it| it.body.into()).collect();
        CreateSignRequest {
            transport: self.transport,
            body: Map::new(),
        }
        .set("source_files", files)
        .set("signers", signers)
    }

    /// A sign request. [`NotFound`](crate::ErrorKind::NotFound) also after its files or folder
    /// were deleted.
    ///
    /// Vendor: <https://developer.box.com/reference/get-sign-requests-id/>
    pub async fn get(&self, id: &SignRequestId) -> Result<SignRequest> {
        let path = ["sign_requests", id.as_str()];
        let call = Call::new("sign_requests.get", Method::GET, path);
        self.transport.json(&call).await
    }

    /// The sign requests of the token's user, without those whose files or folder were deleted.
    ///
    /// Vendor: <https://developer.box.com/reference/get-sign-requests/>
    pub fn list(&self) -> impl Stream<Item = Result<SignRequest>> + Send + use<'a> {
        paging::by_marker(self.transport, |marker| {
            let call = Call::new("sign_requests.list", Method::GET, ["sign_requests"]);
            Ok(call.query("limit", LIST_LIMIT).query_opt("marker", marker))
        })
    }

    /// Takes a sign request back, which ends it for good.
    ///
    /// Vendor: <https://developer.box.com/reference/post-sign-requests-id-cancel/>
    pub async fn cancel(&self, id: &SignRequestId) -> Result<SignRequest> {
        let path = ["sign_requests", id.as_str(), "cancel"];
        let call = Call::new("sign_requests.cancel", Method::POST, path).json(&json!({}))?;
        self.transport.json(&call).await
    }

    /// Sends the e-mail again to those who have yet to sign. Box takes it once in ten minutes.
    ///
    /// Vendor: <https://developer.box.com/reference/post-sign-requests-id-resend/>
    pub async fn resend(&self, id: &SignRequestId) -> Result<()> {
        let path = ["sign_requests", id.as_str(), "resend"];
        let call = Call::new("sign_requests.resend", Method::POST, path);
        self.transport.empty(&call).await
    }
}

/// Somebody who is asked to sign.
#[derive(Clone, Debug)]
#[must_use = "goes into a sign request"]
pub struct Signer {
    body: Map<String, Value>,
}

impl Signer {
    /// Whoever reads the mail of this address.
    pub fn new(email: &str) -> Self {
        Self { body: Map::new() }.set("email", email)
    }

    /// What the person is asked for: to sign unless said otherwise.
    pub fn role(self, role: SignerRole) -> Self {
        self.set("role", role.as_str())
    }

    /// Whose turn it is: those with a lower number sign first.
    pub fn order(self, order: u32) -> Self {
        self.set("order", order)
    }

    /// Whether the person signs beside the sender, at the same screen.
    pub fn in_person(self, on: bool) -> Self {
        self.set("is_in_person", on)
    }

    /// Whether the person has to log in to Box first.
    pub fn login_required(self, on: bool) -> Self {
        self.set("login_required", on)
    }

    /// The person's id in your records, to get URLs for signing inside your own pages.
    pub fn embed_url_external_user_id(self, id: &str) -> Self {
        self.set("embed_url_external_user_id", id)
    }

    /// Where the person is sent after signing.
    pub fn redirect_url(self, url: &str) -> Self {
        self.set("redirect_url", url)
    }

    /// The language of the mails and pages, such as `de`.
    pub fn language(self, language: &str) -> Self {
        self.set("language", language)
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }
}

/// Makes a sign request. From [`SignRequests::create`].
#[derive(Debug)]
#[must_use = "nothing is sent before send()"]
pub struct CreateSignRequest<'a> {
    transport: &'a Transport,
    body: Map<String, Value>,
}

impl CreateSignRequest<'_> {
    /// Where the documents to sign and the signing log are put: the folder of the first file
    /// unless said otherwise. It cannot be the root.
    pub fn parent_folder(self, folder: &FolderId) -> Self {
        self.set("parent_folder", json!({ "type": "folder", "id": folder }))
    }

    /// The request's name.
    pub fn name(self, name: &str) -> Self {
        self.set("name", name)
    }

    /// The id of something in another system, for those who follow the request.
    pub fn external_id(self, id: &str) -> Self {
        self.set("external_id", id)
    }

    /// The mail's subject.
    pub fn email_subject(self, text: &str) -> Self {
        self.set("email_subject", text)
    }

    /// The mail's text.
    pub fn email_message(self, text: &str) -> Self {
        self.set("email_message", text)
    }

    /// After how many days it expires: 0 for never, at most 730.
    pub fn days_valid(self, days: u32) -> Self {
        self.set("days_valid", days)
    }

    /// Whether people are reminded after 3, 8, 13 and 18 days.
    pub fn reminders(self, on: bool) -> Self {
        self.set("are_reminders_enabled", on)
    }

    /// Whether the sender first puts fields on the document by hand.
    pub fn document_preparation(self, on: bool) -> Self {
        self.set("is_document_preparation_needed", on)
    }

    /// Whether signatures can be typed rather than drawn.
    pub fn text_signatures(self, on: bool) -> Self {
        self.set("are_text_signatures_enabled", on)
    }

    /// Where people are sent after signing.
    pub fn redirect_url(self, url: &str) -> Self {
        self.set("redirect_url", url)
    }

    /// Where people are sent after declining.
    pub fn declined_redirect_url(self, url: &str) -> Self {
        self.set("declined_redirect_url", url)
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// Sends it.
    pub async fn send(self) -> Result<SignRequest> {
        let call =
            Call::new("sign_requests.create", Method::POST, ["sign_requests"]).json(&self.body)?;
        self.transport.json(&call).await
    }
}

open_enum! {
    /// What a person is asked for.
    SignerRole {
        /// To sign.
        Signer = "signer",
        /// To approve.
        Approver = "approver",
        /// To take a copy at the end.
        FinalCopyReader = "final_copy_reader",
    }
}

open_enum! {
    /// How far a sign request has come.
    SignRequestStatus {
        /// The files are made ready.
        Converting = "converting",
        /// The sender has yet to put fields on it.
        Created = "created",
        /// The mails are sent.
        Sent = "sent",
        /// Somebody has looked.
        Viewed = "viewed",
        /// All have signed.
        Signed = "signed",
        /// It was taken back.
        Cancelled = "cancelled",
        /// Somebody declined.
        Declined = "declined",
        /// It failed.
        Error = "error",
        /// The files could not be made ready.
        ErrorConverting = "error_converting",
        /// The mails could not be sent.
        ErrorSending = "error_sending",
        /// It was too late.
        Expired = "expired",
        /// All have signed, and the final document is being made.
        Finalizing = "finalizing",
        /// The final document could not be made.
        ErrorFinalizing = "error_finalizing",
        /// The signed document was downloaded.
        Downloaded = "downloaded",
    }
}

/// A sign request.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SignRequest {
    /// Its id.
    pub id: SignRequestId,
    /// How far it has come.
    pub status: Option<SignRequestStatus>,
    /// Who is asked.
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    pub signers: Vec<SignRequestSigner>,
    /// The files it began with.
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    pub source_files: Vec<FileMini>,
    /// What is signed, and whether it can be had.
    pub sign_files: Option<SignFiles>,
    /// What happened when.
    pub signing_log: Option<FileMini>,
    /// Where the documents are.
    pub parent_folder: Option<FolderMini>,
    /// Its name.
    pub name: Option<String>,
    /// The id of something in another system.
    pub external_id: Option<String>,
    /// A short id for people, such as `SR-12345`.
    pub short_id: Option<String>,
    /// Where the sender puts fields on the document, when that was asked for.
    pub prepare_url: Option<SecretString>,
    /// After how many days it expires.
    pub days_valid: Option<u32>,
    /// When it expires.
    pub auto_expire_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it came to its end.
    pub finished_at: Option<Timestamp>,
    /// Why it failed.
    pub error_code: Option<String>,
    /// Who sent it.
    pub sender_email: Option<String>,
}

/// What is signed.
#[derive(Clone, Debug, Default, Deserialize)]
#[non_exhaustive]
pub struct SignFiles {
    /// The documents.
    #[serde(default, deserialize_with = "crate::lenient::null_to_default")]
    pub files: Vec<FileMini>,
    /// Whether the last change has reached them.
    pub is_ready_for_download: Option<bool>,
}

/// Somebody who is asked to sign, and how it goes.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct SignRequestSigner {
    /// The mail address.
    pub email: Option<String>,
    /// What the person is asked for.
    pub role: Option<SignerRole>,
    /// Whose turn it is.
    pub order: Option<u32>,
    /// Whether the person signs beside the sender.
    pub is_in_person: Option<bool>,
    /// Whether the person has looked.
    pub has_viewed_document: Option<bool>,
    /// What the person decided.
    pub signer_decision: Option<SignerDecision>,
    /// Where whoever knows it signs as this person.
    pub embed_url: Option<SecretString>,
    /// The same for use inside a frame.
    pub iframeable_embed_url: Option<SecretString>,
}

/// What a signer decided.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct SignerDecision {
    /// `signed` or `declined`.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// When.
    pub finalized_at: Option<Timestamp>,
    /// Why it was declined.
    pub additional_info: Option<String>,
}
