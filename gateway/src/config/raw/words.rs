//! Texts that are one of a few words. What the reader says of another one is its own; these are for the schema, so that editors
//! complete them and say no at once.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

/// A type that is in the schema alone.
macro_rules! words {
    ($(#[$about:meta])* $Name:ident: $($word:literal)+) => {
        $(#[$about])*
        pub(in crate::config) enum $Name {}

        impl JsonSchema for $Name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($Name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "enum": [$($word),+] })
            }
        }
    };
}

words! {
    /// What is logged.
    Level: "error" "warn" "info" "debug" "trace"
}

words! {
    /// What we sign with.
    Signing: "EdDSA" "ES256" "RS256" "HS256"
}

words! {
    /// What keys that others publish may be for.
    Published: "RS256" "ES256" "EdDSA"
}

words! {
    /// What becomes of somebody without an account; nothing stands for what is so when nothing is said.
    Newcomers: "" "existing" "create"
}
