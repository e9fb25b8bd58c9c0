"""The main calls of Box's official SDK: `box.py URL TOKEN`."""
import hashlib, io, os, sys

from box_sdk_gen import *
api, token = sys.argv[1], sys.argv[2]
auth = BoxDeveloperTokenAuth(token=token)
urls = BaseUrls(base_url=api, upload_url=api + "/api", oauth_2_url=api + "/oauth2")
client = BoxClient(auth=auth, network_session=NetworkSession(base_urls=urls))
me = client.users.get_user_me(); print("me", me.id)
clients = client.folders.create_folder("Clients", CreateFolderParent(id="0"))
deal = client.folders.create_folder("Deal", CreateFolderParent(id=clients.id))
items = client.folders.get_folder_items(clients.id)
assert [e.id for e in items.entries] == [deal.id]
f = client.uploads.upload_file(UploadFileAttributes(name="a.pdf", parent=UploadFileAttributesParentField(id=deal.id)), io.BytesIO(b"%PDF-1.7 one")).entries[0]
v = client.uploads.upload_file_version(f.id, UploadFileVersionAttributes(name="a.pdf"), io.BytesIO(b"%PDF-1.7 two")).entries[0]
got = client.downloads.download_file(f.id).read(); assert got == b"%PDF-1.7 two", got
vs = client.file_versions.get_file_versions(f.id); assert vs.total_count == 1, vs
big = os.urandom(21*1024*1024)
b = client.chunked_uploads.upload_big_file(io.BytesIO(big), "big.bin", len(big), deal.id)
assert b.sha_1 == hashlib.sha1(big).hexdigest() if hasattr(b,'sha_1') else True; print("chunked", b.id)
t = client.metadata_templates.create_metadata_template("enterprise", "Mapping", template_key="mapping", fields=[CreateMetadataTemplateFields(type=CreateMetadataTemplateFieldsTypeField.STRING, key="opportunity_id", display_name="Opportunity")])
m = client.folder_metadata.create_folder_metadata_by_id(deal.id, CreateFolderMetadataByIdScope.ENTERPRISE, "mapping", {"opportunity_id": "006"})
m = client.folder_metadata.update_folder_metadata_by_id(deal.id, UpdateFolderMetadataByIdScope.ENTERPRISE, "mapping", [UpdateFolderMetadataByIdRequestBody(op=UpdateFolderMetadataByIdRequestBodyOpField.REPLACE, path="/opportunity_id", value="007")])
m = client.folder_metadata.get_folder_metadata_by_id(deal.id, GetFolderMetadataByIdScope.ENTERPRISE, "mapping"); print(m.extra_data if hasattr(m,'extra_data') else m)
w = client.webhooks.create_webhook(CreateWebhookTarget(id=deal.id, type=CreateWebhookTargetTypeField.FOLDER), "https://example.com/box", [CreateWebhookTriggers.FILE_UPLOADED])
assert client.webhooks.get_webhook_by_id(w.id).address == "https://example.com/box"
c = client.user_collaborations.create_collaboration(CreateCollaborationItem(type=CreateCollaborationItemTypeField.FOLDER, id=deal.id), CreateCollaborationAccessibleBy(type=CreateCollaborationAccessibleByTypeField.USER, login="new@example.com"), CreateCollaborationRole.VIEWER)
assert client.user_collaborations.get_collaboration_by_id(c.id).role == "viewer"
e = client.events.get_events(stream_position="0"); print("events", len(e.entries), e.next_stream_position)
client.webhooks.delete_webhook_by_id(w.id)
client.files.delete_file_by_id(b.id)
print("ok")
