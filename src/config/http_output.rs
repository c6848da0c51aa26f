//! `[queues.NAME.output.http]`

use serde::{Deserialize, Serialize};

use super::Secret;

/// `[queues.NAME.output.http]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpOutput {
    /// Where events are posted to.
    pub path: String,
    /// For basic authentication.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Belongs to `user`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// A bearer token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
}

impl Default for HttpOutput {
    fn default() -> Self {
        Self {
            path: "/".into(),
            user: None,
            password: None,
            token: None,
        }
    }
}

impl HttpOutput {
    /// Whether requests carry something secret.
    pub(super) fn has_credentials(&self) -> bool {
        self.password.is_some() || self.token.is_some()
    }

    /// What does not fit: the setting's place in the section, and what to do.
    pub(super) fn check(&self) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        if !self.path.starts_with('/') || !is_plain(&self.path) {
            found.push(("http.path", "it begins with / and has no blanks: \"/\""));
        }
        if self.user.is_some() != self.password.is_some() {
            found.push((
                "http.user",
                "user and password belong together: set both, or none",
            ));
        }
        let user = self.user.as_deref().unwrap_or_default();
        if user.contains(':') || user.contains(char::is_control) {
            found.push(("http.user", "it holds no colon and no control character"));
        }
        if self.token.is_some() && self.password.is_some() {
            found.push(("http.token", "set a token, or user and password"));
        }
        let token = self.token.as_ref().map_or("-", |token| token.reveal());
        if token.is_empty() || !is_plain(token) {
            found.push(("http.token", "it holds only printable ASCII without blanks"));
        }
        found
    }
}
