//! Full-text search.

use futures_core::Stream;
use http::Method;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::{
    FolderId, FoundItem, UserId, call::Call, error::Result, open_enum::open_enum, paging,
    transport::Transport,
};

/// Searches names, contents, descriptions, comments and tags. From
/// [`BoxClient::search`](crate::BoxClient::search).
///
/// Vendor: <https://developer.box.com/reference/get-search/>. What was just uploaded is found
/// some ten minutes later; a [metadata query](crate::Metadata::query) has no such delay. Box counts no
/// further than 10,000 results: there the stream ends, so narrow a search that could find more.
/// Six searches a second and sixty a minute are allowed per user.
///
/// ```no_run
/// use box_client::{BoxClient, FolderId, SearchType};
/// use futures_util::TryStreamExt;
///
/// # async fn example(client: BoxClient) -> Result<(), Box<dyn std::error::Error>> {
/// let found = client.search().query("\"master agreement\"").of_type(SearchType::File);
/// let mut found = std::pin::pin!(found.in_folders([FolderId::new("100")?]).stream());
/// while let Some(item) = found.try_next().await? {
///     println!("{:?}", item.name());
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is sent before stream()"]
pub struct Search<'a> {
    transport: &'a Transport,
    query: Vec<(&'static str, String)>,
    filters: Vec<Value>,
}

/// More at once is refused.
const LIST_LIMIT: u64 = 200;

impl<'a> Search<'a> {
    pub(crate) fn new(transport: &'a Transport) -> Self {
        Self {
            transport,
            query: Vec::new(),
            filters: Vec::new(),
        }
    }

    /// The words to look for; `"` for a phrase, `AND`, `OR` and `NOT` in capitals. Without it a
    /// metadata filter is needed.
    pub fn query(self, words: impl Into<String>) -> Self {
        self.with("query", words.into())
    }

    /// Where the words may be: everywhere unless said otherwise.
    pub fn content_types(self, places: impl IntoIterator<Item = SearchIn>) -> Self {
        self.list("content_types", places)
    }

    /// Only items of this type.
    pub fn of_type(self, kind: SearchType) -> Self {
        self.with("type", kind.as_str().to_owned())
    }

    /// Only below these folders.
    pub fn in_folders(self, folders: impl IntoIterator<Item = FolderId>) -> Self {
        self.list("ancestor_folder_ids", folders)
    }

    /// Only items that belong to these users.
    pub fn owned_by(self, users: impl IntoIterator<Item = UserId>) -> Self {
        self.list("owner_user_ids", users)
    }

    /// Only files with these extensions, without the dot.
    pub fn file_extensions<S: std::fmt::Display>(
        self,
        extensions: impl IntoIterator<Item = S>,
    ) -> Self {
        self.list("file_extensions", extensions)
    }

    /// Only what was made in this time; either end can be open.
    pub fn created_between(self, from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        self.range("created_at_range", from, to)
    }

    /// Only what was changed in this time; either end can be open.
    pub fn updated_between(self, from: Option<Timestamp>, to: Option<Timestamp>) -> Self {
        self.range("updated_at_range", from, to)
    }

    /// Only files of this size; either end can be open.
    pub fn size_between(self, least: Option<u64>, most: Option<u64>) -> Self {
        self.range("size_range", least, most)
    }

    /// Only items to which the template is applied, with these values. Box takes one filter.
    pub fn metadata(mut self, scope: &str, template: &str, values: Map<String, Value>) -> Self {
        self.filters
            .push(json!({ "scope": scope, "templateKey": template, "filters": values }));
        self
    }

    /// Whose items are searched: those that the user can see unless said otherwise. The whole
    /// enterprise is for administrators to whom Box has granted it.
    pub fn scope(self, scope: SearchScope) -> Self {
        self.with("scope", scope.as_str().to_owned())
    }

    /// Whether the trash is searched: not unless said otherwise.
    pub fn trash(self, trash: SearchTrash) -> Self {
        self.with("trash_content", trash.as_str().to_owned())
    }

    /// In which order: the best match first unless said otherwise.
    pub fn sort(self, by: SearchSort) -> Self {
        self.with("sort", by.as_str().to_owned())
    }

    /// Asks for these fields only, besides id, type and the like.
    pub fn fields<S: std::fmt::Display>(self, fields: impl IntoIterator<Item = S>) -> Self {
        self.list("fields", fields)
    }

    fn range<T: ToString>(self, name: &'static str, from: Option<T>, to: Option<T>) -> Self {
        let text = |end: Option<T>| end.map(|end| end.to_string()).unwrap_or_default();
        let range = format!("{},{}", text(from), text(to));
        self.with(name, range)
    }

    fn list<T: std::fmt::Display>(
        self,
        name: &'static str,
        values: impl IntoIterator<Item = T>,
    ) -> Self {
        let values: Vec<String> = values.into_iter().map(|it| it.to_string()).collect();
        self.with(name, values.join(","))
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.query.push((name, value));
        self
    }

    /// The items found, page after page, up to Box's 10,000th.
    pub fn stream(self) -> impl Stream<Item = Result<FoundItem>> + Send + use<'a> {
        let Self {
            transport,
            query,
            filters,
        } = self;
        let filters = (!filters.is_empty()).then(|| Value::from(filters).to_string());
        paging::by_offset(transport, LIST_LIMIT, move || {
            let call = Call::new("search", Method::GET, ["search"])
                .query_opt("mdfilters", filters.as_deref());
            Ok(query
                .iter()
                .fold(call, |call, (name, value)| call.query(*name, value)))
        })
    }
}

open_enum! {
    /// Where a search looks for its words.
    SearchIn {
        /// Names.
        Name = "name",
        /// Descriptions.
        Description = "description",
        /// The contents of files.
        FileContent = "file_content",
        /// Comments.
        Comments = "comments",
        /// Tags.
        Tags = "tags",
    }
}

open_enum! {
    /// What a search finds.
    SearchType {
        /// Files.
        File = "file",
        /// Folders.
        Folder = "folder",
        /// Web links.
        WebLink = "web_link",
    }
}

open_enum! {
    /// Whose items are searched.
    SearchScope {
        /// What the user can see.
        UserContent = "user_content",
        /// What the enterprise has.
        EnterpriseContent = "enterprise_content",
    }
}

open_enum! {
    /// Whether the trash is searched.
    SearchTrash {
        /// It is not.
        NonTrashedOnly = "non_trashed_only",
        /// Nothing else is.
        TrashedOnly = "trashed_only",
        /// It is, with all the rest.
        AllItems = "all_items",
    }
}

open_enum! {
    /// What comes first.
    SearchSort {
        /// The best match.
        Relevance = "relevance",
        /// The last changed.
        ModifiedAt = "modified_at",
    }
}
