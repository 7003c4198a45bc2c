//! Which part of a request a refusal is about, where there are several.

/// What of a cross-origin request is not allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CorsPart {
    /// Pages of this origin.
    Origin,
    /// The method asked for.
    Method,
    /// A header asked for.
    Header,
}

/// What shows that a request on a cookie was meant, and is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CsrfPart {
    /// A page of this host that sent it.
    Origin,
    /// The session's token.
    Token,
}
