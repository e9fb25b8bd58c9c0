//! Box's authorize page, for a person who agrees at once.

use url::Url;

use super::{
    answer::{Answer, Outcome, Refused},
    head::Head,
    state::State,
};

/// `GET /api/oauth2/authorize`: sends the browser back with a code.
pub(super) fn page(state: &mut State, head: &Head) -> Outcome {
    let parameter = |name| head.query(name).unwrap_or_default();
    let client = parameter("client_id");
    if parameter("response_type") != "code" || !state.config.clients.iter().any(|c| c.0 == client) {
        return Err(Refused::bad_request("invalid_request"));
    }
    // The fake knows no configured URI, so one has to be named, as where there are several.
    let back = head
        .query("redirect_uri")
        .ok_or_else(|| Refused::bad_request("redirect_uri_missing"))?;
    let mut back = Url::parse(back).map_err(|_| Refused::bad_request("redirect_uri_mismatch"))?;
    let code = state.issue_code_for(client);
    back.query_pairs_mut().append_pair("code", &code);
    if let Some(login) = head.query("state") {
        back.query_pairs_mut().append_pair("state", login);
    }
    Ok(Answer::empty(302).header("location", back))
}
