//! Items found by the values of a template.

use futures_core::Stream;
use http::Method;
use serde_json::{Map, Value, json};

use crate::{
    FolderId, FoundItem,
    call::Call,
    error::{Error, ErrorKind, Result},
    paging,
    transport::Transport,
};

/// Finds items by a template's values, exactly and as they are now. From
/// [`Metadata::query`](super::Metadata::query).
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before stream()"]
pub struct MetadataQuery<'a> {
    transport: &'a Transport,
    scope: String,
    body: Map<String, Value>,
    values: Map<String, Value>,
}

const OPERATION: &str = "metadata.query";
/// More at once is refused.
const LIST_LIMIT: u32 = 100;

impl<'a> MetadataQuery<'a> {
    pub(super) fn new(
        transport: &'a Transport,
        scope: &str,
        template: &str,
        below: &FolderId,
    ) -> Self {
        Self {
            transport,
            scope: scope.to_owned(),
            body: Map::new(),
            values: Map::new(),
        }
        .set("from", format!("{scope}.{template}"))
        .set("ancestor_folder_id", below.as_str())
        .set("limit", LIST_LIMIT)
    }

    /// Which items: a condition such as `opportunity_id = :id AND amount >= :least`, whose values
    /// are [bound](Self::bind) by name. All that carry the template unless said otherwise.
    pub fn condition(self, condition: &str) -> Self {
        self.set("query", condition)
    }

    /// A value for the condition, by its name without the colon.
    pub fn bind(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.values.insert(name.to_owned(), value.into());
        self
    }

    /// In which order, by a field of the template. Can be given several times.
    pub fn order_by(mut self, field: &str, ascending: bool) -> Self {
        let direction = if ascending { "ASC" } else { "DESC" };
        let order = json!({ "field_key": field, "direction": direction });
        match self.body.get_mut("order_by").and_then(Value::as_array_mut) {
            Some(orders) => orders.push(order),
            None => self = self.set("order_by", vec![order]),
        }
        self
    }

    /// Asks for these fields besides id, type and the like: `name`, or a value of a template as
    /// `metadata.enterprise_12345.templateKey.fieldKey`.
    pub fn fields<S: Into<String>>(self, fields: impl IntoIterator<Item = S>) -> Self {
        let fields: Vec<String> = fields.into_iter().map(Into::into).collect();
        self.set("fields", fields)
    }

    fn set(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.body.insert(name.to_owned(), value.into());
        self
    }

    /// The items found, page after page.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) unless the scope is the full `enterprise_12345`: Box takes
    /// neither the short form nor `global` here.
    pub fn stream(self) -> impl Stream<Item = Result<FoundItem>> + Send + use<'a> {
        let Self {
            transport,
            scope,
            mut body,
            values,
        } = self;
        if !values.is_empty() {
            body.insert("query_params".to_owned(), values.into());
        }
        paging::by_marker(transport, move |marker| {
            if !scope.starts_with("enterprise_") {
                return Err(Error::new(ErrorKind::Invalid, OPERATION)
                    .detail("a query needs the full scope, such as enterprise_12345"));
            }
            let mut body = body.clone();
            if let Some(marker) = marker {
                body.insert("marker".to_owned(), marker.into());
            }
            let path = ["metadata_queries", "execute_read"];
            // A POST that only reads.
            let call = Call::new(OPERATION, Method::POST, path).repeatable();
            call.json(&body)
        })
    }
}
