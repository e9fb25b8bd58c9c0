//! The service `eventbus.v1.PubSub`.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tonic::codegen::{BoxStream, Service};
use tonic::metadata::MetadataMap;
use tonic::server::{Grpc, NamedService, StreamingService, UnaryService};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::publish::publish;
use super::status::{bad_auth, rpc_id, unknown_topic};
use super::subscribe::serve;
use crate::pubsub::proto::{
    FetchRequest, FetchResponse, PublishRequest, PublishResponse, SchemaInfo, SchemaRequest,
    TopicInfo, TopicRequest,
};
use crate::testing::state::{Shared, State};

/// Serves until the handles are gone or one of them says stop.
pub(in crate::testing) async fn run(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut stop: watch::Receiver<bool>,
) {
    let service = PubSub {
        shared,
        stop: stop.clone(),
    };
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let stopped = async move {
        let _ = stop.changed().await;
    };
    // Its error is a listener that broke; callers see that nobody is there.
    let _ = Server::builder()
        .add_service(service)
        .serve_with_incoming_shutdown(incoming, stopped)
        .await;
}

#[derive(Clone)]
struct PubSub {
    shared: Arc<Shared>,
    stop: watch::Receiver<bool>,
}

impl PubSub {
    /// Looks at the token when a call begins; what it does afterwards is of no matter.
    fn admit(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let told = |name| metadata.get(name).and_then(|value| value.to_str().ok());
        let config = &self.shared.config;
        let instance = told("instanceurl").unwrap_or_default();
        let tenant = told("tenantid").unwrap_or_default();
        let is_own_org = tenant.len() >= 15 && config.org_id.starts_with(tenant);
        if instance.trim_end_matches('/') != config.instance_url.trim_end_matches('/')
            || !is_own_org
        {
            return Err(bad_auth());
        }
        let session = format!("Bearer {}", told("accesstoken").unwrap_or_default());
        let mut state = self.shared.lock();
        state
            .auth
            .authorize(Some(&session), config.session_lifetime, Timestamp::now())
            .map(drop)
            .map_err(|_| bad_auth())
    }

    fn unary<Q, A>(
        &self,
        request: Request<Q>,
        answer: impl FnOnce(&mut State, &Shared, Q) -> Result<A, Status>,
    ) -> Result<Response<A>, Status> {
        self.admit(request.metadata())?;
        let mut state = self.shared.lock();
        answer(&mut state, &self.shared, request.into_inner()).map(Response::new)
    }
}

impl NamedService for PubSub {
    const NAME: &'static str = "eventbus.v1.PubSub";
}

type Incoming = http::Request<tonic::body::Body>;
type Outgoing = http::Response<tonic::body::Body>;

impl Service<Incoming> for PubSub {
    type Response = Outgoing;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Outgoing, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Incoming) -> Self::Future {
        let own = self.clone();
        Box::pin(async move {
            let answer = match request.uri().path() {
                "/eventbus.v1.PubSub/Subscribe" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.streaming(Subscribe(own), request).await
                }
                "/eventbus.v1.PubSub/GetSchema" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.unary(GetSchema(own), request).await
                }
                "/eventbus.v1.PubSub/GetTopic" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.unary(GetTopic(own), request).await
                }
                "/eventbus.v1.PubSub/Publish" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.unary(Publish(own), request).await
                }
                _ => Status::unimplemented("this fake has no such call").into_http(),
            };
            Ok(answer)
        })
    }
}

struct Subscribe(PubSub);
struct GetSchema(PubSub);
struct GetTopic(PubSub);
struct Publish(PubSub);

type Answer<T> = BoxFuture<'static, Result<Response<T>, Status>>;

impl StreamingService<FetchRequest> for Subscribe {
    type Response = FetchResponse;
    type ResponseStream = BoxStream<FetchResponse>;
    type Future = Answer<Self::ResponseStream>;

    fn call(&mut self, request: Request<Streaming<FetchRequest>>) -> Self::Future {
        let PubSub { shared, stop } = self.0.clone();
        let admitted = self.0.admit(request.metadata());
        Box::pin(async move {
            admitted?;
            let (answers, receiver) = mpsc::channel(1);
            tokio::spawn(async move {
                let served = serve(shared, request.into_inner(), &answers, stop).await;
                if let Err(status) = served {
                    let _ = answers.send(Err(status)).await;
                }
            });
            let answers: Self::ResponseStream = Box::pin(futures_util::stream::unfold(
                receiver,
                |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
            ));
            Ok(Response::new(answers))
        })
    }
}

impl UnaryService<SchemaRequest> for GetSchema {
    type Response = SchemaInfo;
    type Future = Answer<SchemaInfo>;

    fn call(&mut self, request: Request<SchemaRequest>) -> Self::Future {
        let answer = self.0.unary(request, |state, _, asked| {
            state.bus.schemas_asked += 1;
            let known = state.bus.schema(&asked.schema_id);
            let known = known.ok_or_else(|| Status::not_found("there is no such schema"))?;
            Ok(SchemaInfo {
                schema_json: known.json.clone(),
                schema_id: known.id.clone(),
                rpc_id: rpc_id(),
            })
        });
        Box::pin(std::future::ready(answer))
    }
}

impl UnaryService<TopicRequest> for GetTopic {
    type Response = TopicInfo;
    type Future = Answer<TopicInfo>;

    fn call(&mut self, request: Request<TopicRequest>) -> Self::Future {
        let answer = self.0.unary(request, |state, shared, asked| {
            let topic = asked.topic_name;
            let known = state.bus.topic(&state.org.schema, &topic);
            let (schema, can_publish) = known.ok_or_else(|| unknown_topic(&topic))?;
            Ok(TopicInfo {
                topic_name: topic,
                tenant_guid: format!("core/fake/{}", shared.config.org_id),
                can_publish,
                can_subscribe: true,
                schema_id: schema.map(|schema| schema.id.clone()).unwrap_or_default(),
                rpc_id: rpc_id(),
            })
        });
        Box::pin(std::future::ready(answer))
    }
}

impl UnaryService<PublishRequest> for Publish {
    type Response = PublishResponse;
    type Future = Answer<PublishResponse>;

    fn call(&mut self, request: Request<PublishRequest>) -> Self::Future {
        let answer = self
            .0
            .unary(request, |state, _, asked| publish(state, asked));
        Box::pin(std::future::ready(answer))
    }
}
