//! What `/limits` tells of the org.

use std::collections::BTreeMap;

use http::Method;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::{ApiUsage, error::Result, sobjects::check_name, transport::Transport};

/// The org's limits. From [`SalesforceClient::limits`](crate::SalesforceClient::limits).
///
/// Which there are differs by org and by version, and values may lag by minutes.
///
/// ```no_run
/// # use salesforce_client::SalesforceClient;
/// # async fn example(client: SalesforceClient) -> salesforce_client::Result<()> {
/// let limits = client.limits().await?;
/// if let Some(storage) = limits.get("FileStorageMB") {
///     println!("{} of {} MB left", storage.remaining, storage.max);
/// }
/// # Ok(())
/// # }
/// ```
///
/// Vendor: REST API Developer Guide, "Limits".
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Limits(BTreeMap<String, Limit>);

/// One of the org's limits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "PascalCase")]
#[non_exhaustive]
pub struct Limit {
    /// What is allowed.
    pub max: i64,
    /// What is left of it; below zero where Salesforce has let more through.
    pub remaining: i64,
}

/// About how many records an object has.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[non_exhaustive]
pub struct RecordCount {
    /// The object.
    pub name: String,
    /// How many.
    pub count: u64,
}

impl Limits {
    /// A limit by its name, such as `DailyApiRequests`.
    pub fn get(&self, name: &str) -> Option<Limit> {
        self.0.get(name).copied()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Limit)> {
        self.0.iter().map(|(name, limit)| (name.as_str(), *limit))
    }

    /// The calls of 24 hours.
    pub fn api_usage(&self) -> Option<ApiUsage> {
        let limit = self.get("DailyApiRequests")?;
        let allowed = u64::try_from(limit.max).ok()?;
        let used = limit.max.saturating_sub(limit.remaining);
        Some(ApiUsage {
            used: u64::try_from(used).unwrap_or(0),
            allowed,
        })
    }
}

impl<'de> Deserialize<'de> for Limits {
    /// What is no limit is passed over: Salesforce adds things.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let all = BTreeMap::<String, Value>::deserialize(deserializer)?;
        let known = all.into_iter().filter_map(|(name, value)| {
            let limit = Limit::deserialize(&value).ok()?;
            Some((name, limit))
        });
        Ok(Self(known.collect()))
    }
}

pub(crate) async fn record_counts(
    transport: &Transport,
    objects: &[&str],
) -> Result<Vec<RecordCount>> {
    const OPERATION: &str = "record_counts";
    #[derive(Deserialize)]
    struct Counts {
        #[serde(rename = "sObjects")]
        objects: Vec<RecordCount>,
    }
    let mut call = transport.call(OPERATION, Method::GET, &["limits", "recordCount"]);
    for object in objects {
        check_name(OPERATION, object)?;
    }
    if !objects.is_empty() {
        call = call.query("sObjects", objects.join(","));
    }
    let counts: Counts = transport.json(&call).await?;
    Ok(counts.objects)
}
