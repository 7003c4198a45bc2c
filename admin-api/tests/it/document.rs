//! What the document promises of every operation: the answers that come of what it takes, whatever it does.

use serde_json::{Value, json};

use crate::house::{House, Shown};

async fn document() -> Value {
    House::open().await.get("/openapi.json", Shown::Nothing).await.body
}

#[tokio::test]
async fn what_is_left_of_a_quota_is_a_number_or_one_word() {
    let schemas = document().await["components"]["schemas"].take();
    assert_eq!(schemas["Quota"]["properties"]["limit"]["$ref"], "#/components/schemas/Limit");
    assert_eq!(
        schemas["Limit"]["oneOf"],
        json!([{ "type": "integer", "format": "int64", "minimum": 0 }, { "type": "string", "enum": ["unlimited"] }])
    );
}
