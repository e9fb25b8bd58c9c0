//! A search for words in many objects at once.

use std::{fmt, sync::Arc};

use http::Method;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Record, Soql,
    call::Call,
    error::{Error, ErrorKind, Result},
    sobjects::check_name,
    transport::Transport,
};

const OPERATION: &str = "search";
/// What SOSL takes for operators.
const RESERVED: &str = r#"?&|!{}[]()^~*:\"'+-"#;

const OPERATORS: [&str; 3] = ["AND", "OR", "NOT"];

/// A search. From [`SalesforceClient::search`](crate::SalesforceClient::search).
///
/// ```no_run
/// # use salesforce_client::{Record, SalesforceClient, SearchScope};
/// # async fn example(client: SalesforceClient) -> salesforce_client::Result<()> {
/// let search = client.search("Acme (Holding)").scope(SearchScope::Name);
/// let found: Vec<Record> = search.object("Account", &["Id", "Name"]).send().await?;
/// # Ok(())
/// # }
/// ```
///
/// Vendor: REST API Developer Guide, "Parameterized Search".
#[must_use = "nothing is sent before send()"]
pub struct Search {
    transport: Arc<Transport>,
    failure: Option<Error>,
    body: Body,
}

/// Where Salesforce looks for the words.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[non_exhaustive]
pub enum SearchScope {
    /// In all fields that can be searched.
    All,
    /// In email addresses.
    Email,
    /// In names.
    Name,
    /// In telephone numbers.
    Phone,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found<T> {
    search_records: Vec<T>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    q: String,
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    scope: Option<SearchScope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sobjects: Vec<Object>,
    #[serde(skip_serializing_if = "Option::is_none")]
    overall_limit: Option<u32>,
}

#[derive(Serialize)]
struct Object {
    name: String,
    fields: Vec<String>,
    #[serde(rename = "where", skip_serializing_if = "Option::is_none")]
    condition: Option<String>,
    #[serde(rename = "orderBy", skip_serializing_if = "Option::is_none")]
    order_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<u32>,
}

impl fmt::Debug for Search {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Search")
            .field("scope", &self.body.scope)
            .finish_non_exhaustive()
    }
}

impl Search {
    pub(crate) fn new(transport: &Arc<Transport>, words: String) -> Self {
        Self {
            transport: Arc::clone(transport),
            failure: None,
            body: Body {
                q: escaped(&words),
                scope: None,
                sobjects: Vec::new(),
                overall_limit: None,
            },
        }
    }

    /// Where to look: in all fields unless set.
    pub fn scope(mut self, scope: SearchScope) -> Self {
        self.body.scope = Some(scope);
        self
    }

    /// Looks in this object, and in no other that is not named as well, and gives these fields.
    pub fn object(mut self, name: &str, fields: &[&str]) -> Self {
        let mut names = [name].into_iter().chain(fields.iter().copied());
        if let Err(error) = names.try_for_each(|name| check_name(OPERATION, name)) {
            self.failure.get_or_insert(error);
        }
        self.body.sobjects.push(Object {
            name: name.to_owned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            condition: None,
            order_by: None,
            limit: None,
        });
        self
    }

    /// Only records of the object that was added last that meet this condition, as SOQL has it behind
    /// `WHERE`. Values are bound as in a query.
    pub fn object_where(mut self, condition: impl Into<Soql>) -> Self {
        match condition.into().text() {
            Ok(text) => self.last(|object| object.condition = Some(text)),
            Err(error) => drop(self.failure.get_or_insert(error)),
        }
        self
    }

    /// The order of the records of the object that was added last, by the names of fields, each
    /// perhaps with `DESC`, as `LastModifiedDate DESC`.
    pub fn object_order_by(mut self, fields: &str) -> Self {
        let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ',' | ' ');
        match fields.chars().all(legal) {
            true => self.last(|object| object.order_by = Some(fields.to_owned())),
            false => drop(self.failure.get_or_insert_with(|| {
                Error::new(ErrorKind::Invalid, OPERATION).detail("an order has names of fields")
            })),
        }
        self
    }

    /// How many records of the object that was added last at most.
    pub fn object_limit(mut self, records: u32) -> Self {
        self.last(|object| object.limit = Some(records));
        self
    }

    fn last(&mut self, change: impl FnOnce(&mut Object)) {
        match self.body.sobjects.last_mut() {
            Some(object) => change(object),
            None => drop(self.failure.get_or_insert_with(|| {
                Error::new(ErrorKind::Invalid, OPERATION)
                    .detail("there is no object yet that this could be about")
            })),
        }
    }

    /// How many records at most, 2,000 at the highest.
    pub fn limit(mut self, records: u32) -> Self {
        self.body.overall_limit = Some(records);
        self
    }

    /// Sends it. Which object a record belongs to tells its `attributes.type`.
    pub async fn send<T: DeserializeOwned>(self) -> Result<Vec<T>> {
        if let Some(failure) = self.failure {
            return Err(failure);
        }
        if self.body.q.trim().chars().count() < 2 {
            return Err(Error::new(ErrorKind::Invalid, OPERATION)
                .detail("Salesforce searches for two characters at least"));
        }
        let call = self
            .transport
            .call(OPERATION, Method::POST, &["parameterizedSearch"])
            .json(&self.body)?;
        let found: Found<T> = self.transport.json(&Call::repeatable(call)).await?;
        Ok(found.search_records)
    }

    /// Sends it, with records as maps of their fields.
    pub async fn records(self) -> Result<Vec<Record>> {
        self.send().await
    }
}

pub(crate) async fn sosl<T: DeserializeOwned>(transport: &Transport, sosl: &str) -> Result<Vec<T>> {
    let call = transport.call(OPERATION, Method::GET, &["search"]);
    let found: Found<T> = transport.json(&call.query("q", sosl)).await?;
    Ok(found.search_records)
}

/// The words as they are, none of them an operator. What is one as a word is quoted, and then a
/// word.
fn escaped(words: &str) -> String {
    let mut text = String::with_capacity(words.len() + 8);
    for (place, word) in words.split_whitespace().enumerate() {
        if place > 0 {
            text.push(' ');
        }
        let is_operator = OPERATORS.iter().any(|it| word.eq_ignore_ascii_case(it));
        if is_operator {
            text.extend(['"'].into_iter().chain(word.chars()).chain(['"']));
            continue;
        }
        for letter in word.chars() {
            if RESERVED.contains(letter) {
                text.push('\\');
            }
            text.push(letter);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_and_no_letter_is_an_operator() {
        for (words, sent) in [
            ("Marks AND Spencer", r#"Marks "AND" Spencer"#),
            ("not Acme", r#""not" Acme"#),
            ("  Order  and\tmore ", r#"Order "and" more"#),
            ("Andor & Notting", r"Andor \& Notting"),
            (r#"say "or""#, r#"say \"or\""#),
        ] {
            assert_eq!(escaped(words), sent, "{words}");
        }
    }
}
