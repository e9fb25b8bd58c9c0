//! A body that was sent before a 401: other clients have sent what was left of it with the new
//! token, and made files of no bytes (box/box-python-sdk-gen#344).

use std::{future::ready, io};

use box_client::{
    Content, ErrorKind, File, FileId, Result,
    testing::{Fault, FaultEffect},
};
use bytes::Bytes;
use futures_util::stream;

use crate::boxed::{Boxed, PART, bytes, root};

/// As long as two parts.
const SIZE: u64 = 2 * PART;

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    InMemory,
    Reopened,
    Ranges,
    Once,
}

impl Kind {
    const ALL: [Self; 4] = [Self::InMemory, Self::Reopened, Self::Ranges, Self::Once];

    fn content(self) -> Content {
        let whole = Bytes::from(bytes(SIZE));
        let pieces = |bytes: Bytes| {
            let pieces: Vec<_> = bytes.chunks(300).map(Bytes::copy_from_slice).collect();
            stream::iter(pieces.into_iter().map(Ok::<_, io::Error>))
        };
        match self {
            Self::InMemory => Content::from(whole),
            Self::Reopened => {
                let open = move || ready(Ok::<_, io::Error>(pieces(whole.clone())));
                Content::reopen(open, SIZE)
            }
            Self::Ranges => {
                let open = move |range: std::ops::Range<u64>| {
                    let part = whole.slice(range.start as usize..range.end as usize);
                    ready(Ok::<_, io::Error>(pieces(part)))
                };
                Content::ranges(open, SIZE)
            }
            Self::Once => Content::once(pieces(whole), SIZE),
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    File,
    Version,
    Part,
    PartOfVersion,
}

impl Way {
    const ALL: [Self; 4] = [Self::File, Self::Version, Self::Part, Self::PartOfVersion];

    /// The requests that have the bytes.
    fn requests(self) -> (&'static str, &'static str) {
        match self {
            Self::File => ("POST", "/api/2.0/files/content"),
            Self::Version => ("POST", "/api/2.0/files/*/content"),
            Self::Part | Self::PartOfVersion => ("PUT", "/api/2.0/files/upload_sessions/*"),
        }
    }

    async fn send(self, boxed: &Boxed, there: &FileId, content: Content) -> Result<File> {
        let files = boxed.client.files();
        let chunked_from = match self {
            Self::File | Self::Version => u64::MAX,
            Self::Part | Self::PartOfVersion => 0,
        };
        match self {
            Self::File | Self::Part => {
                let upload = files.upload(&root(), "new", content);
                let uploaded = upload.chunked_from(chunked_from).parallel(1).send().await?;
                Ok(uploaded.file)
            }
            Self::Version | Self::PartOfVersion => {
                let upload = files.upload_version(there, content);
                upload.chunked_from(chunked_from).parallel(1).send().await
            }
        }
    }
}

#[tokio::test]
async fn a_body_that_was_consumed_is_never_sent_again_empty() {
    for way in Way::ALL {
        for kind in Kind::ALL {
            tells_or_sends_all(way, kind).await;
        }
    }
}

async fn tells_or_sends_all(way: Way, kind: Kind) {
    let boxed = Boxed::start().await;
    let there = boxed.fake.upload("0", "there", "before").unwrap();
    let there = FileId::new(there.file_id).unwrap();
    let (method, path) = way.requests();
    let refused = Fault::on(path, FaultEffect::ExpireSession).method(method);
    boxed.fake.inject(refused);
    let sent = way.send(&boxed, &there, kind.content()).await;
    let in_parts = matches!(way, Way::Part | Way::PartOfVersion);
    let whole = if in_parts { PART } else { SIZE };
    let mut requests = boxed.fake.requests();
    requests.retain(|it| it.method == method && it.path.starts_with("/api/2.0/files/"));
    requests.retain(|it| it.path.ends_with("/content") || method == "PUT");
    for request in &requests {
        assert!(
            request.content_length >= whole,
            "{way:?} {kind:?}: {request:?}"
        );
    }
    // A part is held until Box has it, wherever it came from.
    if kind == Kind::Once && !in_parts {
        let error = sent.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{way:?}");
        assert!(error.is_retryable() && !error.may_have_happened());
        assert_eq!(requests.len(), 1);
        assert_eq!(boxed.files().len(), 1);
        assert_eq!(boxed.bytes(&there).await, "before");
    } else {
        let file = sent.unwrap_or_else(|error| panic!("{way:?} {kind:?}: {error}"));
        assert_eq!(boxed.bytes(&file.id).await, bytes(SIZE), "{way:?} {kind:?}");
        assert_eq!(requests.len(), if in_parts { 3 } else { 2 });
    }
    boxed.done();
}
