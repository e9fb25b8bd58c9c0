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
cc = sf.restful("composite/sobjects", method="POST", json={"allOrNone": False, "records": [{"attributes": {"type": "Contact"}, "LastName": "One"}, {"attributes": {"type": "Contact"}}]})
assert [c["success"] for c in cc] == [True, False], cc
v = sf.ContentVersion.create({"Title": "t", "PathOnClient": "t.pdf", "VersionData": base64.b64encode(b"%PDF").decode(), "FirstPublishLocationId": a})
doc = sf.query(f"SELECT ContentDocumentId FROM ContentVersion WHERE Id = '{v['id']}'")["records"][0]["ContentDocumentId"]
links = sf.query(f"SELECT Id FROM ContentDocumentLink WHERE LinkedEntityId = '{a}'")["records"]
assert len(links) == 1
try:
    sf.Account.create({"Nme": "x"}); raise SystemExit("unknown field taken")
except Exception as e:
    assert "INVALID_FIELD" in str(e), e
sf.Account.delete(a)
print("ok")
