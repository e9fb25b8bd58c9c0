"""The main calls of simple-salesforce: `simple_salesforce_calls.py URL TOKEN`."""
import base64, sys
import requests
from simple_salesforce import Salesforce


class Plain(requests.adapters.HTTPAdapter):
    """simple-salesforce knows https only, and the fake is on loopback without it."""

    def send(self, request, **options):
        request.url = request.url.replace("https://", "http://", 1)
        return super().send(request, **options)


url, token = sys.argv[1], sys.argv[2]
session = requests.Session()
session.mount("https://127.0.0.1", Plain())
sf = Salesforce(session=session, instance_url=url, session_id=token, version="58.0")
a = sf.Account.create({"Name": "Acme"})["id"]
assert sf.Account.get(a)["Name"] == "Acme"
sf.Account.update(a, {"Name": "Acme 2"})
r = sf.bulk2.Contact.insert(records=[{"LastName": f"Name {n}", "AccountId": a} for n in range(2500)])
assert r[0]["numberRecordsProcessed"] == 2500 and r[0]["numberRecordsFailed"] == 0, r
rows = list(sf.query_all_iter("SELECT Id, LastName, Account.Name FROM Contact ORDER BY LastName"))
assert len(rows) == 2500 and rows[0]["Account"]["Name"] == "Acme 2", len(rows)
page = sf.query("SELECT Id FROM Contact")
assert page["totalSize"] == 2500 and not page["done"]
page = sf.query_more(page["nextRecordsUrl"], True)
assert len(page["records"]) == 500 and page["done"]
cc = sf.restful("composite/sobjects", method="POST", json={"allOrNone": False, "records": [{"attributes": {"type": "Contact"}, "LastName": "One"}, {"attributes": {"type": "Contact"}}]})
assert [c["success"] for c in cc] == [True, False], cc
# A key of one's own, as an administrator makes it.
field = {"FullName": "Account.Box_Folder_Id__c", "Metadata": {"label": "Box folder", "type": "Text", "length": 40, "externalId": True, "unique": True}}
assert sf.toolingexecute("sobjects/CustomField", method="POST", data=field)["success"]
me = sf.query("SELECT Id FROM User LIMIT 1")["records"][0]["Id"]
rights = sf.PermissionSet.create({"Name": "Box", "Label": "Box"})["id"]
sf.FieldPermissions.create({"ParentId": rights, "SobjectType": "Account", "Field": "Account.Box_Folder_Id__c", "PermissionsRead": True, "PermissionsEdit": True})
sf.PermissionSetAssignment.create({"PermissionSetId": rights, "AssigneeId": me})
assert sf.Account.upsert("Box_Folder_Id__c/a%2Fb", {"Name": "By key"}) == 201
assert sf.Account.upsert("Box_Folder_Id__c/a%2Fb", {"Name": "By key 2"}) == 200
assert sf.Account.get_by_custom_id("Box_Folder_Id__c", "a/b")["Name"] == "By key 2"
named = lambda object, **fields: {"attributes": {"type": object}, **fields}
many = lambda method, path="", **body: sf.restful("composite/sobjects" + path, method=method, json={"allOrNone": False, **body})
new = many("POST", records=[named("Account", Name=f"Many {n}") for n in range(200)])
assert all(it["success"] for it in new)
ids = [it["id"] for it in new]
changed = many("PATCH", records=[named("Account", id=id, Name="Changed") for id in ids[:3]] + [named("Account", id="001000000000000AAA", Name="x")])
assert [it["success"] for it in changed] == [True] * 3 + [False], changed
kept = many("PATCH", "/Account/Box_Folder_Id__c", records=[named("Account", Box_Folder_Id__c=key, Name=key) for key in ("a/b", "new")])
assert [it["created"] for it in kept] == [False, True], kept
read = sf.restful("composite/sobjects/Account", params={"ids": ",".join(ids[2:4]), "fields": "Name"})
assert [it["Name"] for it in read] == ["Changed", "Many 3"], read
whole = many("POST", allOrNone=True, records=[named("Account", Name="All"), named("Account")])
assert [it["errors"][0]["statusCode"] for it in whole] == ["ALL_OR_NONE_OPERATION_ROLLED_BACK", "REQUIRED_FIELD_MISSING"], whole
gone = sf.restful("composite/sobjects", method="DELETE", params={"ids": ",".join(ids), "allOrNone": "true"})
assert all(it["success"] for it in gone) and len(gone) == 200
by_key = sf.bulk2.Account.upsert(records=[{"Box_Folder_Id__c": key, "Name": "Bulk"} for key in ("new", "newer")], external_id_field="Box_Folder_Id__c")
assert by_key[0]["numberRecordsProcessed"] == 2 and by_key[0]["numberRecordsFailed"] == 0, by_key
assert sf.query("SELECT Id FROM Account WHERE Name = 'Bulk'")["totalSize"] == 2
v = sf.ContentVersion.create({"Title": "t", "PathOnClient": "t.pdf", "VersionData": base64.b64encode(b"%PDF").decode(), "FirstPublishLocationId": a})
doc = sf.query(f"SELECT ContentDocumentId FROM ContentVersion WHERE Id = '{v['id']}'")["records"][0]["ContentDocumentId"]
links = sf.query(f"SELECT Id FROM ContentDocumentLink WHERE LinkedEntityId = '{a}'")["records"]
assert len(links) == 1
data = sf._call_salesforce("GET", sf.base_url + f"sobjects/ContentVersion/{v['id']}/VersionData").content
assert data == b"%PDF", data
found = sf.search("FIND {acm*} IN NAME FIELDS RETURNING Account(Id, Name WHERE Name LIKE 'Acme%' ORDER BY Name LIMIT 5), Contact")
assert [it["Name"] for it in found["searchRecords"]] == ["Acme 2"], found
assert len(sf.quick_search("Acme")["searchRecords"]) == 1
try:
    sf.quick_search("Acme ("); raise SystemExit("an operator without its end taken")
except Exception as e:
    assert "MALFORMED_SEARCH" in str(e), e
fields = sf.toolingexecute("query", params={"q": "SELECT DeveloperName FROM CustomField WHERE TableEnumOrId = 'Account'"})
assert [it["DeveloperName"] for it in fields["records"]] == ["Box_Folder_Id"], fields
try:
    sf.Account.create({"Nme": "x"}); raise SystemExit("unknown field taken")
except Exception as e:
    assert "INVALID_FIELD" in str(e), e
sf.Account.delete(a)
print("ok")
