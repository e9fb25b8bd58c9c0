//! An event bus that breaks on purpose and refuses what Salesforce would refuse.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll},
    time::Duration,
};

use apache_avro::{Schema, types::Value, writer::datum::GenericDatumWriter};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{net::TcpListener, sync::mpsc};
use tonic::{
    Code, Request, Response, Status, Streaming,
    codegen::{BoxStream, Service},
    metadata::MetadataMap,
    server::{Grpc, NamedService, StreamingService, UnaryService},
    transport::{Server, server::TcpIncoming},
};
use tonic_prost::ProstCodec;

use super::wire::{
    Consumed, Failure, Fetch, Fetched, Name, Outcome, Produced, Publish, Publishes, SchemaInfo,
    TopicInfo,
};

const MOST_AT_ONCE: i32 = 100;

/// How a subscription comes to its end once it has delivered its share.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It goes on; a sign of life comes when there is nothing to deliver.
    Never,
    /// The server ends the stream.
    Clean,
    /// An error without a code of Salesforce's own.
    Status(Code),
    /// Salesforce's own code.
    Coded(Code, &'static str),
    /// A sign of life with the newest id of all, although events before it are withheld, and then
    /// the end.
    Misleading,
    /// Nothing more comes, not even a sign of life.
    Silence,
}

/// What one subscription does after the other; the last plan stays.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Events to deliver before the end.
    pub(crate) events: usize,
    /// The most events to an answer.
    pub(crate) batch: usize,
    /// Events before the place asked for that are delivered once more.
    pub(crate) again: usize,
    pub(crate) end: End,
}

impl Plan {
    pub(crate) const STEADY: Self = Self {
        events: usize::MAX,
        batch: 20,
        again: 0,
        end: End::Never,
    };
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) schema: String,
    pub(crate) schema_id: String,
    pub(crate) events: Vec<Produced>,
    pub(crate) plans: Vec<Plan>,
    pub(crate) subscriptions: usize,
    /// The first request of each subscription.
    pub(crate) opened: Vec<Fetch>,
    pub(crate) schemas_asked: usize,
    pub(crate) most_outstanding: i32,
    pub(crate) refused_tokens: Vec<String>,
    pub(crate) metadata: Vec<[String; 3]>,
    pub(crate) published: Vec<Publish>,
}

#[derive(Clone)]
pub(crate) struct Bus {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

pub(crate) fn replay_id(number: usize) -> Bytes {
    Bytes::from(format!("replay-{number}"))
}

/// The number of the event after this place.
fn after(id: &[u8]) -> Option<usize> {
    let number: usize = std::str::from_utf8(id)
        .ok()?
        .strip_prefix("replay-")?
        .parse()
        .ok()?;
    Some(number + 1)
}

impl Bus {
    pub(crate) async fn start(schema: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let bus = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            state: Arc::default(),
        };
        bus.state().schema = schema.to_owned();
        bus.state().schema_id = "schema-1".to_owned();
        bus.state().plans = vec![Plan::STEADY];
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = Server::builder().add_service(PubSubServer(bus.clone()));
        tokio::spawn(server.serve_with_incoming(incoming));
        bus
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Puts an event on the bus.
    pub(crate) fn push(&self, value: Value) {
        let mut state = self.state();
        let schema = Schema::parse_str(&state.schema).unwrap();
        let writer = GenericDatumWriter::builder(&schema).build().unwrap();
        let payload = writer
            .write_value_to_vec(value.resolve(&schema).unwrap())
            .unwrap();
        let event = Produced {
            id: format!("event-{}", state.events.len()),
            schema_id: state.schema_id.clone(),
            payload: payload.into(),
        };
        state.events.push(event);
    }

    fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let told = ["accesstoken", "instanceurl", "tenantid"].map(|name| {
            let value = metadata.get(name).and_then(|value| value.to_str().ok());
            value.unwrap_or_default().to_owned()
        });
        let refused = told[0].is_empty() || self.state().refused_tokens.contains(&told[0]);
        self.state().metadata.push(told);
        if refused {
            return Err(coded(
                Code::Unauthenticated,
                "sfdc.platform.eventbus.grpc.service.auth.error",
            ));
        }
        Ok(())
    }

    fn subscribe(&self, requests: Streaming<Fetch>) -> BoxStream<Fetched> {
        let (answers, receiver) = mpsc::channel(1);
        let bus = self.clone();
        tokio::spawn(async move {
            let end = bus.serve(requests, &answers).await;
            if let Err(status) = end {
                let _ = answers.send(Err(status)).await;
            }
        });
        Box::pin(futures_util::stream::unfold(
            receiver,
            |mut receiver| async move { Some((receiver.recv().await?, receiver)) },
        ))
    }

    async fn serve(
        &self,
        mut requests: Streaming<Fetch>,
        answers: &mpsc::Sender<Result<Fetched, Status>>,
    ) -> Result<(), Status> {
        let Some(first) = requests.message().await? else {
            return Ok(());
        };
        let (mut place, plan) = self.open(&first)?;
        let mut outstanding = 0;
        let mut left = plan.events;
        self.grant(&mut outstanding, &first)?;
        loop {
            if left == 0 {
                match plan.end {
                    End::Never => {}
                    End::Clean => return Ok(()),
                    End::Status(code) => return Err(Status::new(code, "on purpose")),
                    End::Coded(code, text) => return Err(coded(code, text)),
                    End::Misleading => {
                        let newest = self.state().events.len().saturating_sub(1);
                        let sign = Fetched {
                            latest_replay_id: replay_id(newest),
                            ..Fetched::default()
                        };
                        let _ = answers.send(Ok(sign)).await;
                        return Ok(());
                    }
                    End::Silence => {
                        while requests.message().await?.is_some() {}
                        return Ok(());
                    }
                }
            }
            let events: Vec<_> = {
                let state = self.state();
                let most = plan
                    .batch
                    .min(left)
                    .min(usize::try_from(outstanding).unwrap());
                let numbered = state.events.iter().enumerate().skip(place).take(most);
                numbered
                    .map(|(number, event)| Consumed {
                        event: Some(event.clone()),
                        replay_id: replay_id(number),
                    })
                    .collect()
            };
            place += events.len();
            left = left.saturating_sub(events.len());
            outstanding -= i32::try_from(events.len()).unwrap();
            let is_idle = events.is_empty();
            // What is withheld because nobody asked for it lies before the newest id.
            let latest = match outstanding {
                0 => self.state().events.len(),
                _ => place,
            };
            let answer = Fetched {
                latest_replay_id: replay_id(latest.saturating_sub(1)),
                events,
                rpc_id: "rpc".to_owned(),
                pending_num_requested: outstanding,
            };
            let says_something = !is_idle || place > 0;
            if says_something && answers.send(Ok(answer)).await.is_err() {
                return Ok(());
            }
            loop {
                // Idle, the next request or the next sign of life is waited for.
                let patience = Duration::from_millis(if is_idle { 20 } else { 0 });
                match tokio::time::timeout(patience, requests.message()).await {
                    Ok(Ok(Some(more))) => self.grant(&mut outstanding, &more)?,
                    Ok(_) => return Ok(()),
                    Err(_) => break,
                }
            }
        }
    }

    fn open(&self, first: &Fetch) -> Result<(usize, Plan), Status> {
        let mut state = self.state();
        state.opened.push(first.clone());
        let topic = &first.topic_name;
        if !topic.starts_with("/data/") && !topic.starts_with("/event/Known") {
            return Err(Status::not_found("no such topic"));
        }
        let plan = state.plans[state.subscriptions.min(state.plans.len() - 1)];
        state.subscriptions += 1;
        let place = match first.replay_preset {
            0 => state.events.len(),
            1 => 0,
            _ => after(&first.replay_id)
                .filter(|place| *place <= state.events.len())
                .ok_or_else(|| {
                    let text = "sfdc.platform.eventbus.grpc.subscription.fetch.replayid.corrupted";
                    coded(Code::InvalidArgument, text)
                })?,
        };
        Ok((place.saturating_sub(plan.again), plan))
    }

    fn grant(&self, outstanding: &mut i32, request: &Fetch) -> Result<(), Status> {
        *outstanding += request.num_requested;
        let mut state = self.state();
        state.most_outstanding = state.most_outstanding.max(*outstanding);
        if request.num_requested <= 0 || *outstanding > MOST_AT_ONCE {
            let text = "sfdc.platform.eventbus.grpc.subscription.fetch.requested.events.invalid";
            return Err(coded(Code::InvalidArgument, text));
        }
        Ok(())
    }

    /// Every third event is refused.
    fn publish(&self, request: Publish) -> Publishes {
        let mut state = self.state();
        let results = request
            .events
            .iter()
            .enumerate()
            .map(|(number, event)| Outcome {
                replay_id: replay_id(number),
                error: (number % 3 == 2).then(|| Failure {
                    code: 1,
                    msg: "no room".to_owned(),
                }),
                correlation_key: event.id.clone(),
            });
        // Nobody promises the order.
        let results: Vec<_> = results.rev().collect();
        state.published.push(request);
        Publishes {
            results,
            schema_id: state.schema_id.clone(),
        }
    }
}

fn coded(code: Code, text: &str) -> Status {
    let mut metadata = MetadataMap::new();
    metadata.insert("error-code", text.parse().unwrap());
    metadata.insert("rpc-id", "rpc-1".parse().unwrap());
    Status::with_metadata(code, "on purpose", metadata)
}

#[derive(Clone)]
struct PubSubServer(Bus);

impl NamedService for PubSubServer {
    const NAME: &'static str = "eventbus.v1.PubSub";
}

type Incoming = http::Request<tonic::body::Body>;
type Outgoing = http::Response<tonic::body::Body>;

impl Service<Incoming> for PubSubServer {
    type Response = Outgoing;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Outgoing, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Incoming) -> Self::Future {
        let bus = self.0.clone();
        Box::pin(async move {
            let answer = match request.uri().path() {
                "/eventbus.v1.PubSub/Subscribe" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.streaming(Subscribe(bus), request).await
                }
                "/eventbus.v1.PubSub/GetSchema" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.unary(GetSchema(bus), request).await
                }
                "/eventbus.v1.PubSub/GetTopic" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.unary(GetTopic(bus), request).await
                }
                "/eventbus.v1.PubSub/Publish" => {
                    let mut grpc = Grpc::new(ProstCodec::default());
                    grpc.unary(PublishCall(bus), request).await
                }
                _ => Status::unimplemented("no such call").into_http(),
            };
            Ok(answer)
        })
    }
}

struct Subscribe(Bus);
struct GetSchema(Bus);
struct GetTopic(Bus);
struct PublishCall(Bus);

type Answer<T> = BoxFuture<'static, Result<Response<T>, Status>>;

impl StreamingService<Fetch> for Subscribe {
    type Response = Fetched;
    type ResponseStream = BoxStream<Fetched>;
    type Future = Answer<BoxStream<Fetched>>;

    fn call(&mut self, request: Request<Streaming<Fetch>>) -> Self::Future {
        let bus = self.0.clone();
        Box::pin(async move {
            bus.check(request.metadata())?;
            Ok(Response::new(bus.subscribe(request.into_inner())))
        })
    }
}

impl UnaryService<Name> for GetSchema {
    type Response = SchemaInfo;
    type Future = Answer<SchemaInfo>;

    fn call(&mut self, request: Request<Name>) -> Self::Future {
        let bus = self.0.clone();
        Box::pin(async move {
            bus.check(request.metadata())?;
            let mut state = bus.state();
            state.schemas_asked += 1;
            if request.get_ref().name != state.schema_id {
                return Err(Status::not_found("no such schema"));
            }
            Ok(Response::new(SchemaInfo {
                schema_json: state.schema.clone(),
                schema_id: state.schema_id.clone(),
            }))
        })
    }
}

impl UnaryService<Name> for GetTopic {
    type Response = TopicInfo;
    type Future = Answer<TopicInfo>;

    fn call(&mut self, request: Request<Name>) -> Self::Future {
        let bus = self.0.clone();
        Box::pin(async move {
            bus.check(request.metadata())?;
            Ok(Response::new(TopicInfo {
                topic_name: request.into_inner().name,
                can_publish: true,
                can_subscribe: false,
                schema_id: bus.state().schema_id.clone(),
            }))
        })
    }
}

impl UnaryService<Publish> for PublishCall {
    type Response = Publishes;
    type Future = Answer<Publishes>;

    fn call(&mut self, request: Request<Publish>) -> Self::Future {
        let bus = self.0.clone();
        Box::pin(async move {
            bus.check(request.metadata())?;
            Ok(Response::new(bus.publish(request.into_inner())))
        })
    }
}
