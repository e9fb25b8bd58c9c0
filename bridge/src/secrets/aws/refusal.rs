//! What the errors of Secrets Manager mean.

use std::error::Error;

use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};

use super::{SecretError, SecretErrorKind};

/// An error about to be told.
pub(super) struct Refusal {
    pub(super) doing: &'static str,
    pub(super) place: String,
}

/// Whether Secrets Manager refused it by this code.
pub(super) fn is<E: ProvideErrorMetadata>(error: &SdkError<E>, code: &str) -> bool {
    error.code() == Some(code)
}

impl Refusal {
    /// Says the code, and the text only where it is known to repeat nothing of the request: those
    /// of a signature that is wrong quote the session token, those of a value that is wrong the
    /// value.
    pub(super) fn of<E>(self, error: &SdkError<E>) -> SecretError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let Some(code) = error.code() else {
            return self.unanswered(error);
        };
        let text = error.message().unwrap_or_default();
        let kind = kind(code, text);
        let told = match code {
            "AccessDeniedException" | "DecryptionFailure" | "EncryptionFailure" => {
                format!("{code}: {text}")
            }
            "LimitExceededException" => {
                format!("{code}: too many versions within a day, or too many secrets")
            }
            _ if kind == SecretErrorKind::Deleted => {
                format!("{code}: restore it by `aws secretsmanager restore-secret`")
            }
            _ => code.to_owned(),
        };
        self.error(kind).with_cause(told)
    }

    pub(super) fn no_answer(self) -> SecretError {
        let error = self.error(SecretErrorKind::Unavailable);
        error.with_cause("the answer is not one of Secrets Manager's")
    }

    /// It did not get through, or got no answer.
    fn unanswered<E: Error + 'static>(self, error: &SdkError<E>) -> SecretError {
        let mut causes = std::iter::successors(error.source(), |it| (*it).source());
        if causes.any(|it| it.is::<aws_credential_types::provider::error::CredentialsError>()) {
            let error = self.error(SecretErrorKind::Denied);
            return error.with_cause("no AWS credentials were found, or they cannot be fetched");
        }
        let why = match error {
            SdkError::TimeoutError(_) => "no answer in time",
            SdkError::ResponseError(_) => return self.no_answer(),
            _ => "it cannot be reached",
        };
        self.error(SecretErrorKind::Unavailable).with_cause(why)
    }

    fn error(self, kind: SecretErrorKind) -> SecretError {
        SecretError::new(kind, self.doing).at(self.place)
    }
}

/// Vendor: <https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html>
fn kind(code: &str, text: &str) -> SecretErrorKind {
    match code {
        "AccessDeniedException"
        | "DecryptionFailure"
        | "EncryptionFailure"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "NotAuthorized"
        | "OptInRequired"
        | "SignatureDoesNotMatch"
        | "UnrecognizedClientException" => SecretErrorKind::Denied,
        // Its other reasons are about rotation and replicas.
        "InvalidRequestException" if text.contains("delet") => SecretErrorKind::Deleted,
        "InvalidParameterException"
        | "InvalidRequestException"
        | "LimitExceededException"
        | "MalformedPolicyDocumentException"
        | "ResourceExistsException"
        | "ValidationError"
        | "ValidationException" => SecretErrorKind::Refused,
        // Throttling, and failures of its own.
        _ => SecretErrorKind::Unavailable,
    }
}
