//! What the org's bus refuses, asked by hand: this client never asks so.

use salesforce_client::testing::FakeSalesforce;
use tonic::{
    Code, Request, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{ACCOUNTS, org_of};

#[derive(Clone, PartialEq, prost::Message)]
struct Fetch {
    #[prost(string, tag = "1")]
    topic: String,
    #[prost(int32, tag = "4")]
    requested: i32,
}

/// The part of an answer that matters here.
#[derive(Clone, PartialEq, prost::Message)]
struct Fetched {
    #[prost(int32, tag = "4")]
    pending: i32,
}

fn fetch(topic: &str, requested: i32) -> Fetch {
    Fetch {
        topic: topic.to_owned(),
        requested,
    }
}

async fn subscribe(
    org: &FakeSalesforce,
    token: &str,
    requests: Vec<Fetch>,
) -> Result<Streaming<Fetched>, Status> {
    let channel: Channel = Endpoint::from_shared(org.pubsub_url().to_owned())
        .unwrap()
        .connect_lazy();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    // It stays open, as a client that waits for more keeps it.
    let requests = futures_util::stream::iter(requests);
    let requests = futures_util::StreamExt::chain(requests, futures_util::stream::pending());
    let mut request = Request::new(requests);
    for (name, value) in [
        ("accesstoken", token),
        ("instanceurl", org.url()),
        ("tenantid", org.org_id()),
    ] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let path = PathAndQuery::from_static("/eventbus.v1.PubSub/Subscribe");
    let codec = ProstCodec::<Fetch, Fetched>::default();
    let answer = grpc.streaming(request, path, codec).await;
    answer.map(tonic::Response::into_inner)
}

/// How the subscription ends.
async fn refusal(org: &FakeSalesforce, token: &str, requests: Vec<Fetch>) -> (Code, String) {
    let end = async {
        let mut answers = subscribe(org, token, requests).await?;
        while answers.message().await?.is_some() {}
        Ok(())
    };
    let status: Status = end.await.unwrap_err();
    let code = status.metadata().get("error-code");
    let code = code.map(|code| code.to_str().unwrap().to_owned());
    (status.code(), code.unwrap_or_default())
}

#[tokio::test]
async fn requests_beyond_the_rules_end_the_stream() {
    let org = org_of(0).await;
    let token = org.issue_token();
    let invalid = "sfdc.platform.eventbus.grpc.subscription.fetch.requested.events.invalid";
    let auth = "sfdc.platform.eventbus.grpc.service.auth.error";
    for (token, requests, code, error_code) in [
        (
            &*token,
            vec![fetch(ACCOUNTS, 101)],
            Code::InvalidArgument,
            invalid,
        ),
        (
            &token,
            vec![fetch(ACCOUNTS, 0)],
            Code::InvalidArgument,
            invalid,
        ),
        (
            &token,
            vec![fetch(ACCOUNTS, 60), fetch("", 60)],
            Code::InvalidArgument,
            invalid,
        ),
        (
            &token,
            vec![fetch(ACCOUNTS, 1), fetch("/data/ChangeEvents", 1)],
            Code::InvalidArgument,
            "",
        ),
        (&token, vec![fetch("/data/Nothing", 1)], Code::NotFound, ""),
        (
            "wrong",
            vec![fetch(ACCOUNTS, 1)],
            Code::Unauthenticated,
            auth,
        ),
    ] {
        let told = refusal(&org, token, requests.clone()).await;
        assert_eq!(told, (code, error_code.to_owned()), "{requests:?}");
    }
}

#[tokio::test]
async fn a_session_that_ends_does_not_cut_a_subscription_that_runs() {
    let org = org_of(2).await;
    let token = org.issue_token();
    let requests = vec![Fetch {
        topic: ACCOUNTS.to_owned(),
        requested: 10,
    }];
    let mut answers = subscribe(&org, &token, requests).await.unwrap();
    answers.message().await.unwrap().unwrap();
    org.expire_sessions();
    super::count(&org, 3);
    let answer = answers.message().await.unwrap().unwrap();
    assert_eq!(answer.pending, 9);
}
