//! Who does things.

use serde_json::{Value, json};

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct User {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) login: String,
}

impl User {
    /// The user behind the application's own tokens.
    pub(super) fn service_account() -> Self {
        Self::new(
            "11111",
            "Service",
            "AutomationUser_1_fake@boxdevedition.com",
        )
    }

    /// Who acts when a test uses the handle, as in the web app.
    pub(super) fn person() -> Self {
        Self::new("33333", "Jo Rep", "jo@example.com")
    }

    pub(super) fn sign() -> Self {
        Self::new("22222", "Box Sign", "AutomationUser_sign@boxdevedition.com")
    }

    pub(super) fn new(id: &str, name: &str, login: &str) -> Self {
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            login: login.to_owned(),
        }
    }

    pub(super) fn mini(&self) -> Value {
        json!({ "type": "user", "id": self.id, "name": self.name, "login": self.login })
    }
}
