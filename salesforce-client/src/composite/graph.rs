use http::Method;
use serde::Deserialize;
use serde_json::json;

use super::{
    Composite, CompositeAnswers, NODES,
    answers::{Composed, unanswered},
};
use crate::{
    error::{Error, ErrorKind, Result},
    transport::Transport,
};

const OPERATION: &str = "graphs";

/// Sends several composites as graphs, each of which succeeds as a whole or not at all.
pub(crate) async fn graphs(
    transport: &Transport,
    graphs: Vec<Composite>,
) -> Result<Vec<Result<CompositeAnswers>>> {
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
    let invalid = |detail| Error::new(ErrorKind::Invalid, OPERATION).detail(detail);
    let mut all_names = Vec::with_capacity(graphs.len());
    let mut body = Vec::with_capacity(graphs.len());
    let mut nodes = 0;
    for (place, graph) in graphs.into_iter().enumerate() {
        let (parts, names) = graph.body(NODES)?;
        nodes += parts.len();
        body.push(json!({ "graphId": place.to_string(), "compositeRequest": parts }));
        all_names.push(names);
    }
    if nodes > NODES {
        return Err(invalid("the graphs have more than 500 parts together"));
    }
    let call = transport
        .call(OPERATION, Method::POST, &["composite", "graph"])
        .json(&json!({ "graphs": body }))?;
    let mut answered: Graphs = transport.json(&call).await?;
    let answers = all_names.into_iter().enumerate().map(|(place, names)| {
        let id = place.to_string();
        let mut found = answered.graphs.iter();
        let found = found.position(|graph| graph.graph_id == id);
        let graph = answered.graphs.swap_remove(found.ok_or_else(unanswered)?);
        let answers = CompositeAnswers::read(names, graph.graph_response.composite_response)?;
        Ok(answers.judged(!graph.is_successful))
    });
    answers.collect()
}
