use http::Method;
use serde::Deserialize;
use serde_json::json;
use tracing::debug;

use super::{
    Composite, CompositeAnswers, NODES, Reference,
    answers::{Composed, unanswered},
};
use crate::{
    error::{Error, ErrorKind, Result},
    retry::Attempts,
    transport::Transport,
};

const OPERATION: &str = "graphs";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Graph {
    graph_id: String,
    graph_response: Composed,
    is_successful: bool,
}

#[derive(Deserialize)]
struct Graphs {
    graphs: Vec<Graph>,
}

/// Sends several composites as graphs, each of which succeeds as a whole or not at all. Those in
/// which a record was locked are sent again: nothing of them was changed.
pub(crate) async fn graphs(
    transport: &Transport,
    graphs: Vec<Composite>,
) -> Result<Vec<Result<CompositeAnswers>>> {
    let repeatable = graphs.iter().all(Composite::may_be_repeated);
    let mut bodies = Vec::with_capacity(graphs.len());
    let mut nodes = 0;
    for graph in graphs {
        let (parts, names) = graph.body(NODES)?;
        nodes += parts.len();
        bodies.push((parts, names));
    }
    if nodes > NODES {
        return Err(Error::new(ErrorKind::Invalid, OPERATION)
            .detail("the graphs have more than 500 parts together"));
    }
    let mut answers: Vec<Result<CompositeAnswers>> = Vec::new();
    answers.resize_with(bodies.len(), || Err(unanswered()));
    let mut open: Vec<usize> = (0..bodies.len()).collect();
    let mut attempts = Attempts::new(&transport.sender.retry);
    loop {
        let sent = open.iter().map(|place| {
            let (parts, _) = &bodies[*place];
            json!({ "graphId": place.to_string(), "compositeRequest": parts })
        });
        let mut call = transport
            .call(OPERATION, Method::POST, &["composite", "graph"])
            .json(&json!({ "graphs": sent.collect::<Vec<_>>() }))?;
        call = call.since(attempts.started());
        if repeatable {
            call = call.repeatable();
        }
        attempts.begin();
        let answered: Result<Graphs> = transport.json(&call).await;
        let mut answered = match answered {
            Ok(answered) => answered,
            // What was answered before stands.
            Err(error) if attempts.made() > 1 => {
                for place in open {
                    answers[place] = Err(error.again());
                }
                return Ok(answers);
            }
            Err(error) => return Err(error),
        };
        for place in &open {
            let (_, names) = &bodies[*place];
            answers[*place] = answer(&mut answered, *place, names.clone());
        }
        let lock = |place: &usize| {
            let error = answers[*place].as_ref().err();
            error.filter(|error| error.kind() == ErrorKind::RowLocked)
        };
        open.retain(|place| lock(place).is_some());
        let wait = open
            .first()
            .and_then(lock)
            .and_then(|error| attempts.next_wait(error));
        let Some(wait) = wait else {
            return Ok(answers);
        };
        debug!(
            operation = OPERATION,
            graphs = open.len(),
            ?wait,
            "locked: trying again"
        );
        tokio::time::sleep(wait).await;
    }
}

/// What became of one graph; whatever is wrong with it is its own failure.
fn answer(answered: &mut Graphs, place: usize, names: Vec<Reference>) -> Result<CompositeAnswers> {
    let id = place.to_string();
    let found = answered.graphs.iter().position(|it| it.graph_id == id);
    let graph = answered.graphs.swap_remove(found.ok_or_else(unanswered)?);
    let answers = CompositeAnswers::read(names, graph.graph_response.composite_response)?;
    let answers = answers.judged(!graph.is_successful)?;
    if graph.is_successful {
        return Ok(answers);
    }
    Err(Error::new(ErrorKind::Decode, OPERATION)
        .detail("the graph was rolled back, and none of its parts says why"))
}
