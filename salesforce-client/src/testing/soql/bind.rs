use serde_json::Value;

use super::Problem;
use super::lexer::Piece;
use super::literal::{is_text, value, values};
use super::statement::{Expr, Literal, Operator, Order, Path, Statement};
use crate::testing::schema::{FieldDef, FieldType, Name, ObjectDef, Schema};

/// A statement whose names are those of the schema and whose values are in the
/// form in which records store them.
pub(in crate::testing) struct Bound {
    pub(super) is_count: bool,
    pub(in crate::testing) object: Name,
    pub(super) columns: Vec<Column>,
    pub(super) children: Vec<Child>,
    pub(super) filter: Option<Filter>,
    pub(super) order: Vec<(Column, Order)>,
    pub(super) limit: Option<usize>,
    pub(super) offset: usize,
}

/// A sub-query: the children that name the row's record in a field.
pub(super) struct Child {
    pub(super) relationship: String,
    pub(super) field: String,
    pub(super) bound: Bound,
}

/// A field, reached through references.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) through: Vec<Step>,
    pub(super) field: String,
    pub(super) kind: FieldType,
    /// Unique fields can be so that case counts.
    pub(super) case_sensitive: bool,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Step {
    pub(super) relationship: &'static str,
    pub(super) reference: String,
}

pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Compare(Column, Operator, Value),
    Like(Column, Vec<Piece>),
    Among(Column, Vec<Value>),
    /// Any of these has all its values, which are joined by `;`, among those of the field.
    Includes(Column, Vec<Value>),
}

impl Column {
    /// As it is written.
    fn path(&self) -> String {
        let steps = self.through.iter().map(|step| step.relationship);
        let names: Vec<&str> = steps.chain([self.field.as_str()]).collect();
        names.join(".")
    }
}

impl Filter {
    /// Whether only records with certain ids in one of these fields can pass.
    pub(super) fn is_bounded_by(&self, fields: &[&str]) -> bool {
        let names = |column: &Column| fields.contains(&column.path().as_str());
        match self {
            Self::All(parts) => parts.iter().any(|part| part.is_bounded_by(fields)),
            Self::Any(parts) => parts.iter().all(|part| part.is_bounded_by(fields)),
            Self::Compare(column, Operator::Equal, _) | Self::Among(column, _) => names(column),
            Self::Not(_) | Self::Compare(..) | Self::Like(..) | Self::Includes(..) => false,
        }
    }
}

pub(super) fn bind(schema: &Schema, statement: Statement) -> Result<Bound, Problem> {
    let name = statement.object.names.join(".");
    let Some(def) = schema.object(&name) else {
        let text = format!("sObject type '{name}' is not supported. {ADVICE}");
        return Err(Problem::new("INVALID_TYPE", text).at(statement.object.at));
    };
    bind_to(schema, def, statement)
}

fn bind_child(schema: &Schema, def: &ObjectDef, statement: Statement) -> Result<Child, Problem> {
    let relationship = statement.object.names.join(".");
    let Some((child, field)) = schema.child(def, &relationship) else {
        let text = format!(
            "Didn't understand relationship '{relationship}' in FROM part of query call. {ADVICE}"
        );
        return Err(Problem::new("INVALID_TYPE", text).at(statement.object.at));
    };
    Ok(Child {
        relationship,
        field: field.to_owned(),
        bound: bind_to(schema, child, statement)?,
    })
}

fn bind_to(schema: &Schema, def: &ObjectDef, mut statement: Statement) -> Result<Bound, Problem> {
    let children = std::mem::take(&mut statement.children).into_iter();
    let children = children.map(|child| bind_child(schema, def, child));
    let children = children.collect::<Result<Vec<_>, _>>()?;
    let scope = Scope {
        schema,
        def,
        alias: statement.alias,
    };
    let columns = statement
        .paths
        .iter()
        .flatten()
        .map(|path| scope.column(path));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    check_selected_once(&columns)?;
    let filter = statement
        .filter
        .map(|filter| scope.filter(filter))
        .transpose()?;
    let mut order = Vec::new();
    for item in statement.order {
        let (column, field) = scope.resolve(&item.path)?;
        if !field.is_sortable() {
            let text = format!("field '{}' can not be sorted in a query call", field.name);
            return Err(Problem::malformed(text, item.path.at));
        }
        order.push((column, item));
    }
    check_is_bounded(def, filter.as_ref())?;
    Ok(Bound {
        is_count: statement.paths.is_none(),
        object: def.name.clone(),
        columns,
        children,
        filter,
        order,
        limit: statement.limit,
        offset: statement.offset,
    })
}

const ADVICE: &str = "If you are attempting to use a custom object, be sure to append the '__c' \
                      after the entity name. Please reference your WSDL or the describe call for \
                      the appropriate names.";
const FIELD_ADVICE: &str = "If you are attempting to use a custom field, be sure to append the \
                            '__c' after the custom field name. Please reference your WSDL or the \
                            describe call for the appropriate names.";
const LINK_RESTRICTION: &str = "Implementation restriction: ContentDocumentLink requires a filter by a single Id on \
     ContentDocumentId or LinkedEntityId using the equals operator or multiple Id's using the IN \
     operator.";
const FIELD_RESTRICTION: &str =
    "FieldDefinition: a filter on a reified column is required [EntityDefinitionId,DurableId]";
const DEEPEST: usize = 5;

struct Scope<'a> {
    schema: &'a Schema,
    def: &'a ObjectDef,
    alias: Option<String>,
}

impl<'a> Scope<'a> {
    fn column(&self, path: &Path) -> Result<Column, Problem> {
        self.resolve(path).map(|(column, _)| column)
    }

    fn resolve(&self, path: &Path) -> Result<(Column, &'a FieldDef), Problem> {
        let is_self = |name: &str| {
            name.eq_ignore_ascii_case(&self.def.name)
                || self
                    .alias
                    .as_deref()
                    .is_some_and(|alias| alias.eq_ignore_ascii_case(name))
        };
        let names = match path.names.as_slice() {
            // `Account.Name` in a query on Account is the field of the account itself.
            [first, rest @ ..] if !rest.is_empty() && is_self(first) => rest,
            names => names,
        };
        let Some((field, relationships)) = names.split_last() else {
            return Err(Problem::malformed("unexpected token: '.'", path.at));
        };
        let mut through = Vec::new();
        let mut targets = vec![self.def];
        for name in relationships {
            let reference = targets.iter().find_map(|target| target.relationship(name));
            let Some(reference) = reference.filter(|_| through.len() < DEEPEST) else {
                let text = format!("Didn't understand relationship '{name}' in field path.");
                return Err(Problem::new("INVALID_FIELD", text).at(path.at));
            };
            through.push(Step {
                relationship: reference.relationship.unwrap_or_default(),
                reference: reference.name.clone(),
            });
            targets = self.targets(reference);
        }
        let Some(def) = targets.iter().find_map(|target| target.field(field)) else {
            let entity = targets.first().map_or("Name", |target| &*target.name);
            let text = format!("No such column '{field}' on entity '{entity}'. {FIELD_ADVICE}");
            return Err(Problem::new("INVALID_FIELD", text).at(path.at));
        };
        Ok((
            Column {
                through,
                field: def.name.clone(),
                kind: def.kind,
                case_sensitive: def.case_sensitive,
            },
            def,
        ))
    }

    fn targets(&self, reference: &FieldDef) -> Vec<&'a ObjectDef> {
        let all = reference.targets.is_empty();
        let objects = self.schema.objects.iter();
        objects
            .filter(|object| {
                if all {
                    object.linkable
                } else {
                    reference.targets.contains(&&*object.name)
                }
            })
            .collect()
    }

    fn filter(&self, expr: Expr) -> Result<Filter, Problem> {
        let each = |parts: Vec<Expr>| {
            parts
                .into_iter()
                .map(|part| self.filter(part))
                .collect::<Result<Vec<_>, _>>()
        };
        match expr {
            Expr::All(parts) => each(parts).map(Filter::All),
            Expr::Any(parts) => each(parts).map(Filter::Any),
            Expr::Not(inner) => Ok(Filter::Not(Box::new(self.filter(*inner)?))),
            Expr::Compare(path, Operator::Like, literal) => {
                let column = self.filtered(&path)?;
                match literal {
                    Literal::Text(pieces)
                        if is_text(column.kind) && column.kind != FieldType::Multipicklist =>
                    {
                        Ok(Filter::Like(column, pieces))
                    }
                    _ => Err(bad_operator(&column, path.at)),
                }
            }
            Expr::Compare(path, operator, literal) => {
                let column = self.filtered(&path)?;
                let is_list = column.kind == FieldType::Multipicklist;
                let is_equality = matches!(operator, Operator::Equal | Operator::NotEqual);
                if !is_equality
                    && (is_list || column.kind == FieldType::Boolean || literal == Literal::Null)
                {
                    return Err(bad_operator(&column, path.at));
                }
                let value = value(&column, literal).map_err(|problem| problem.at(path.at))?;
                Ok(Filter::Compare(column, operator, value))
            }
            Expr::Among(path, literals) => {
                let column = self.filtered(&path)?;
                if column.kind == FieldType::Multipicklist {
                    return Err(bad_operator(&column, path.at));
                }
                let values = values(&column, literals).map_err(|problem| problem.at(path.at))?;
                Ok(Filter::Among(column, values))
            }
            Expr::Includes(path, literals) => {
                let column = self.filtered(&path)?;
                if column.kind != FieldType::Multipicklist {
                    return Err(bad_operator(&column, path.at));
                }
                let values = values(&column, literals).map_err(|problem| problem.at(path.at))?;
                Ok(Filter::Includes(column, values))
            }
        }
    }

    fn filtered(&self, path: &Path) -> Result<Column, Problem> {
        let (column, field) = self.resolve(path)?;
        if field.filterable {
            return Ok(column);
        }
        let text = format!("field '{}' can not be filtered in a query call", field.name);
        Err(Problem::new("INVALID_FIELD", text).at(path.at))
    }
}

fn check_selected_once(columns: &[Column]) -> Result<(), Problem> {
    for (place, column) in columns.iter().enumerate() {
        let again = columns[..place]
            .iter()
            .any(|other| other.field == column.field && other.through == column.through);
        if again {
            let text = format!("duplicate field selected: {}", column.field);
            return Err(Problem::new("INVALID_FIELD", text));
        }
    }
    Ok(())
}

/// Some objects are not shown as a whole.
fn check_is_bounded(def: &ObjectDef, filter: Option<&Filter>) -> Result<(), Problem> {
    let (keys, restriction): (&[&str], _) = match &*def.name {
        "ContentDocumentLink" => (
            &["ContentDocumentId", "LinkedEntityId", "Id"],
            LINK_RESTRICTION,
        ),
        "FieldDefinition" => (
            &[
                "DurableId",
                "EntityDefinitionId",
                "EntityDefinition.QualifiedApiName",
            ],
            FIELD_RESTRICTION,
        ),
        _ => return Ok(()),
    };
    if filter.is_some_and(|filter| filter.is_bounded_by(keys)) {
        return Ok(());
    }
    Err(Problem::new("MALFORMED_QUERY", restriction))
}

fn bad_operator(column: &Column, at: usize) -> Problem {
    let text = format!("invalid operator on {} field", column.kind.name());
    Problem::new("INVALID_QUERY_FILTER_OPERATOR", text).at(at)
}
