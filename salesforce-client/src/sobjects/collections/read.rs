use std::sync::{Arc, OnceLock};

use futures_core::Stream;
use http::Method;
use serde::de::DeserializeOwned;

use super::{
    super::{SObjects, check_name},
    Row, chunks, joined, note_hopeless, rows, unless_hopeless, unmatched,
};
use crate::{
    RecordId,
    call::Call,
    error::{Error, Result},
};

impl<T> SObjects<'_, T> {
    /// Reads these fields of many records, 200 to a call. A record that does not exist, or that
    /// the user may not see, is `None`.
    pub fn get_all<I>(
        &self,
        ids: I,
        fields: &[&str],
    ) -> impl Stream<Item = Row<RecordId, Option<T>>> + use<I, T>
    where
        I: IntoIterator<Item = RecordId>,
        T: DeserializeOwned,
    {
        const OPERATION: &str = "sobjects.get_all";
        let name = self.name.to_owned();
        let mut names = [self.name].into_iter().chain(fields.iter().copied());
        let checked = names.try_for_each(|name| check_name(OPERATION, name));
        let fields = fields.join(",");
        let transport = Arc::clone(self.transport);
        let call = move |chunk: &[RecordId]| -> Result<Call> {
            checked.as_ref().map_err(Error::again)?;
            let segments = ["composite", "sobjects", &name];
            Ok(transport
                .call(OPERATION, Method::GET, &segments)
                .query("ids", joined(chunk.iter().map(RecordId::as_str)))
                .query("fields", fields.as_str()))
        };
        let transport = Arc::clone(self.transport);
        let hopeless = Arc::new(OnceLock::new());
        chunks(ids.into_iter(), move |chunk: Vec<RecordId>| {
            let (transport, call) = (Arc::clone(&transport), call(&chunk));
            let hopeless = Arc::clone(&hopeless);
            async move {
                let found = async {
                    unless_hopeless(&hopeless)?;
                    let found: Vec<Option<T>> = transport.json(&call?).await?;
                    match found.len() == chunk.len() {
                        true => Ok(found),
                        false => Err(unmatched(OPERATION)),
                    }
                };
                let outcomes = match found.await {
                    Ok(found) => found.into_iter().map(Ok).collect(),
                    Err(error) => {
                        note_hopeless(&hopeless, &error);
                        chunk.iter().map(|_| Err(error.again())).collect()
                    }
                };
                rows(chunk, outcomes)
            }
        })
    }
}
