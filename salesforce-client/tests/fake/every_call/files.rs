use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use salesforce_client::{IdempotencyKey, Linked, ShareType, Strategy};

use super::Served;

const CONTENT: &[u8] = b"signed";

fn content() -> stream::Iter<std::array::IntoIter<Result<Bytes, Infallible>, 1>> {
    stream::iter([Ok(Bytes::from_static(CONTENT))])
}

pub(super) async fn try_all(served: &mut Served) {
    let client = served.client.clone();
    let files = client.files();
    let size = CONTENT.len() as u64;
    let account = served.account("Filed");
    let key = IdempotencyKey::random().unwrap();
    for strategy in [Strategy::Auto, Strategy::Multipart, Strategy::Base64] {
        let upload = files.upload("nda.pdf").strategy(strategy);
        let upload = upload.first_publish_location(&account);
        served.ok("UploadRequest::send", upload.send(content(), size).await);
    }
    let upload = files.upload("nda.pdf").strategy(Strategy::Idempotent(key));
    let version = upload.send(content(), size).await;
    let version = served.ok("Files::upload", version);
    let upload = files.upload("nda.pdf");
    let again = upload.send_with(async || Ok::<_, Infallible>(content()), size);
    served.ok("UploadRequest::send_with", again.await);

    let about = served.ok("Files::version", files.version(&version).await);
    let document = about.content_document_id;
    let versions = files.versions_of(std::slice::from_ref(&document)).await;
    assert_eq!(served.ok("Files::versions_of", versions).len(), 1);
    let found = files.find_by("Title", "nda").await;
    served.ok("Files::find_by", found);

    let link = files.link(&document, &account, ShareType::Viewer);
    let linked = served.ok("Files::link", link.send().await);
    assert!(matches!(linked, Linked::Created(_)));
    let link = files.link(&document, &account, ShareType::Viewer);
    let linked = served.ok("LinkRequest::send", link.send().await);
    assert_eq!(linked, Linked::Already);
    let other = served.account("Filed as well");
    let rows = files.link_all(&document, [other], ShareType::Viewer).await;
    let rows = rows
        .into_iter()
        .map(|row| row.outcome)
        .collect::<Result<Vec<_>, _>>();
    served.ok("Files::link_all", rows);
    let links = files.linked_to(&account).await;
    assert_eq!(served.ok("Files::linked_to", links).len(), 4);
    let documents = files.on_record(&account).await;
    assert!(served.ok("Files::on_record", documents).contains(&document));

    let mut download = served.ok("Files::download", files.download(&version).await);
    let chunk = served.ok("Download::chunk", download.chunk().await);
    assert_eq!(chunk.unwrap(), CONTENT);
    let download = files.download(&version).await.unwrap();
    let chunks = served
        .all("Download::into_stream", download.into_stream())
        .await;
    assert_eq!(chunks.concat(), CONTENT);
    let download = files.download(&version).await.unwrap();
    served.ok("Download::bytes", download.bytes(100).await);
    let versions = client.sobject("ContentVersion");
    let blob = versions.blob(&version, "VersionData").await;
    drop(served.ok("SObjects::blob", blob));
    served.ok("Files::delete", files.delete(&document).await);
}
