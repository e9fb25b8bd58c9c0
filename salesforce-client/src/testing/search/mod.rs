mod terms;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::refusal::Refusal;
use super::reply::Reply;
use super::schema::{FieldDef, FieldType, ObjectDef};
use super::soql::{self, Asked, Asker};
use super::state::{Call, State};
use super::store::Record;
use terms::{Terms, words_of};

const RECORDS_AT_MOST: usize = 2000;
const OFFSET_AT_MOST: usize = 2000;

/// `search`: a search as a text, in SOSL.
pub(super) fn answer(state: &State, call: &Call) -> Result<Reply, Refusal> {
    if call.method != Method::GET {
        return Err(Refusal::not_allowed(&call.method, "HEAD,GET"));
    }
    let Some(text) = call.query.get("q") else {
        return Err(Refusal::bad(
            "MALFORMED_SEARCH",
            "SOSL statement is missing",
        ));
    };
    let sosl = soql::understand_search(&state.org, text)?;
    let search = Search {
        terms: terms::parse(&sosl.words)?,
        scope: Scope::read(sosl.scope.as_deref())?,
        objects: sosl.objects,
        limit: sosl.limit,
    };
    search.perform(state, call)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Parameters {
    q: String,
    #[serde(rename = "in")]
    scope: Option<String>,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(default)]
    sobjects: Vec<Object>,
    default_limit: Option<usize>,
    overall_limit: Option<usize>,
    #[serde(default)]
    offset: usize,
    /// Nothing is corrected here, be it asked for or not.
    #[serde(rename = "spellCorrection")]
    _spell_correction: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Object {
    name: String,
    #[serde(default)]
    fields: Vec<String>,
    #[serde(rename = "where")]
    filter: Option<String>,
    order_by: Option<String>,
    limit: Option<usize>,
}

/// `parameterizedSearch`: the same as a structure.
pub(super) fn parameterized(state: &State, call: &mut Call) -> Result<Reply, Refusal> {
    if call.method != Method::POST {
        return Err(Refusal::not_allowed(&call.method, "GET,POST"));
    }
    let asked: Parameters = call.json()?;
    let bounded = [asked.default_limit, asked.overall_limit];
    let is_too_much = bounded.into_iter().flatten().any(|it| it > RECORDS_AT_MOST);
    if is_too_much || asked.offset > OFFSET_AT_MOST {
        let text = "limits and the offset are 2000 at most";
        return Err(Refusal::bad("NUMBER_OUTSIDE_VALID_RANGE", text));
    }
    if asked.sobjects.is_empty() && (!asked.fields.is_empty() || asked.default_limit.is_some()) {
        let text = "At least one sobject must be specified";
        return Err(Refusal::bad("MISSING_ARGUMENT", text));
    }
    if asked.offset > 0 && asked.sobjects.len() != 1 {
        let text = "An offset is for a search of one sobject";
        return Err(Refusal::bad("MALFORMED_SEARCH", text));
    }
    let objects = asked.sobjects.iter().map(|object| {
        let fields = match object.fields.is_empty() {
            true => &asked.fields,
            false => &object.fields,
        };
        let asked = Asked {
            object: &object.name,
            fields,
            filter: object.filter.as_deref(),
            order: object.order_by.as_deref(),
            limit: object.limit.or(asked.default_limit),
            offset: asked.offset,
        };
        soql::ask(&state.org, &asked)
    });
    let search = Search {
        objects: objects.collect::<Result<_, _>>()?,
        terms: terms::parse(&asked.q)?,
        scope: Scope::read(asked.scope.as_deref())?,
        limit: asked.overall_limit,
    };
    search.perform(state, call)
}

struct Search {
    terms: Terms,
    scope: Scope,
    objects: Vec<soql::Bound>,
    limit: Option<usize>,
}

impl Search {
    fn perform(mut self, state: &State, call: &Call) -> Result<Reply, Refusal> {
        let org = &state.org;
        if self.objects.is_empty() {
            let all = org.schema.objects.iter().filter(|def| def.is_searchable());
            let all = all.map(|def| soql::ask(org, &Asked::ids(&def.name)));
            self.objects = all.collect::<Result<_, _>>()?;
        }
        let asker = Asker {
            user: &call.user,
            version: call.version,
            with_deleted: false,
        };
        let found = self.objects.iter().map(|bound| {
            let def = org.schema.object(&bound.object);
            soql::found(org, bound, asker, |record| {
                def.is_some_and(|def| self.terms.are_in(&self.scope.texts(def, record)))
            })
        });
        let limit = self.limit.unwrap_or(RECORDS_AT_MOST).min(RECORDS_AT_MOST);
        let found: Vec<Value> = shared_out(found.collect(), limit).collect();
        // Before 37.0 the records stand alone.
        let body = match call.version >= 37 {
            true => json!({ "searchRecords": found }),
            false => json!(found),
        };
        Ok(Reply::json(200, &body))
    }
}

/// Of more records than are wanted each object gives as many, as far as it has them.
fn shared_out(found: Vec<Vec<Value>>, limit: usize) -> impl Iterator<Item = Value> {
    let mut shares = vec![0; found.len()];
    let mut left = limit;
    let mut round = 0;
    while left > 0 && found.iter().any(|rows| rows.len() > round) {
        let having = found.iter().zip(&mut shares);
        for (_, share) in having.filter(|(rows, _)| rows.len() > round).take(left) {
            *share += 1;
            left -= 1;
        }
        round += 1;
    }
    let rows = found.into_iter().zip(shares);
    rows.flat_map(|(rows, share)| rows.into_iter().take(share))
}

/// The fields that are looked at.
#[derive(Clone, Copy)]
enum Scope {
    All,
    Name,
    Email,
    Phone,
}

impl Scope {
    fn read(name: Option<&str>) -> Result<Self, Refusal> {
        match name.unwrap_or("ALL").to_ascii_uppercase().as_str() {
            "ALL" => Ok(Self::All),
            "NAME" | "SIDEBAR" => Ok(Self::Name),
            "EMAIL" => Ok(Self::Email),
            "PHONE" => Ok(Self::Phone),
            other => {
                let text = format!("Invalid search scope: {other}");
                Err(Refusal::bad("INVALID_SEARCH_SCOPE", text))
            }
        }
    }

    fn has(self, def: &ObjectDef, field: &FieldDef) -> bool {
        match self {
            Self::All => matches!(
                field.kind,
                FieldType::String
                    | FieldType::Combobox
                    | FieldType::Email
                    | FieldType::Phone
                    | FieldType::Textarea
                    | FieldType::Url
            ),
            Self::Name => def.title().is_some_and(|title| title.name == field.name),
            Self::Email => field.kind == FieldType::Email,
            Self::Phone => field.kind == FieldType::Phone,
        }
    }

    /// The words of each field.
    fn texts(self, def: &ObjectDef, record: &Record) -> Vec<Vec<Vec<char>>> {
        let fields = def.fields.iter().filter(|field| self.has(def, field));
        let texts = fields.filter_map(|field| record.text(&field.name));
        texts.map(words_of).collect()
    }
}
