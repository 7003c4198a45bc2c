//! `application/problem+json` (RFC 9457): the one shape of every error that the door or the office answers with.

use serde::Serialize;

use crate::Refusal;

/// The media type of a problem.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// A problem as it is sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// `urn:portcullis:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// A few words, the same for every problem of this code.
    pub title: &'static str,
    /// The HTTP status, repeated.
    pub status: u16,
    /// The stable name that programs branch on.
    pub code: &'static str,
    /// A sentence about this one.
    pub detail: String,
    /// The request's id, by which operators find it in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// What is wrong with which field of the body.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

/// One field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Its path in the body, such as `scopes[0]`.
    pub field: String,
    /// A sentence.
    pub message: String,
}

// === impl Problem ===

impl Problem {
    /// A problem that the door's `Refusal` does not know, such as a taken email.
    #[must_use]
    pub fn new(status: u16, code: &'static str, title: &'static str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("urn:portcullis:problem:{code}"),
            title,
            status,
            code,
            detail: detail.into(),
            request_id: None,
            errors: Vec::new(),
        }
    }

    /// With the fields that are wrong.
    #[must_use]
    pub fn with_errors(self, errors: Vec<FieldError>) -> Self {
        Self { errors, ..self }
    }
}

impl From<&Refusal> for Problem {
    fn from(refusal: &Refusal) -> Self {
        Self::new(refusal.status(), refusal.code(), refusal.title(), refusal.detail())
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_rfc_9457_and_leaves_out_what_is_empty() {
        let refusal = Refusal::Forbidden { missing: "role admin".to_owned() };
        let plain = serde_json::to_string_pretty(&Problem::from(&refusal)).unwrap();
        insta::assert_snapshot!(plain, @r#"
        {
          "type": "urn:portcullis:problem:forbidden",
          "title": "Forbidden",
          "status": 403,
          "code": "forbidden",
          "detail": "This needs role admin."
        }
        "#);
        let error = FieldError { field: "email".to_owned(), message: "This is no email address.".to_owned() };
        let full = Problem::new(422, "invalid_body", "Invalid body", "One field is wrong.").with_errors(vec![error]);
        let full = Problem { request_id: Some("r-1".to_owned()), ..full };
        let full = serde_json::to_string_pretty(&full).unwrap();
        insta::assert_snapshot!(full, @r#"
        {
          "type": "urn:portcullis:problem:invalid_body",
          "title": "Invalid body",
          "status": 422,
          "code": "invalid_body",
          "detail": "One field is wrong.",
          "request_id": "r-1",
          "errors": [
            {
              "field": "email",
              "message": "This is no email address."
            }
          ]
        }
        "#);
    }
}
