//! A file's JSON Schema, put together as the file is: fixed tables, lists of tables, tables by name.
//!
//! Draft 7, which the editors' TOML plug-ins read. What the types say is all there is: descriptions are their doc comments.

use schemars::generate::SchemaSettings;
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value};

/// A schema under construction. Its methods mirror those of [`Document`](super::Document).
#[derive(Debug)]
pub struct FileSchema {
    title: &'static str,
    generator: SchemaGenerator,
    properties: Map<String, Value>,
}

// === impl FileSchema ===

impl FileSchema {
    /// An empty file's.
    #[must_use]
    pub fn new(title: &'static str) -> Self {
        let generator = SchemaSettings::draft07().for_deserialize();
        let generator = generator.with_transform(RecursiveTransform(without_null)).into_generator();
        Self { title, generator, properties: Map::new() }
    }

    /// `[name]`.
    #[must_use]
    pub fn section<T: JsonSchema>(mut self, name: &str) -> Self {
        let section = self.generator.subschema_for::<T>();
        self.add(name, section)
    }

    /// `[[name]]`.
    #[must_use]
    pub fn elements<T: JsonSchema>(mut self, name: &str) -> Self {
        let element = self.generator.subschema_for::<T>();
        self.add(name, json_schema!({ "type": "array", "items": element }))
    }

    /// `[name.KEY]`.
    #[must_use]
    pub fn entries<T: JsonSchema>(mut self, name: &str) -> Self {
        let entry = self.generator.subschema_for::<T>();
        self.add(name, json_schema!({ "type": "object", "additionalProperties": entry }))
    }

    /// The whole.
    #[must_use]
    pub fn finish(mut self) -> Value {
        let mut schema = json_schema!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": self.title,
            "type": "object",
            "properties": self.properties,
            "additionalProperties": false,
        });
        for transform in self.generator.transforms_mut() {
            transform.transform(&mut schema);
        }
        schema.insert("definitions".to_owned(), self.generator.take_definitions(true).into());
        schema.to_value()
    }

    fn add(mut self, name: &str, schema: Schema) -> Self {
        self.properties.insert(name.to_owned(), schema.to_value());
        self
    }
}

/// TOML has no null: a key that may be left out is left out.
fn without_null(schema: &mut Schema) {
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|kind| kind != "null");
        if let [only] = &mut types[..] {
            let only = only.take();
            schema.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    if let Some(Value::Array(choices)) = schema.get_mut("anyOf") {
        choices.retain(|choice| choice.get("type").is_none_or(|kind| kind != "null"));
        if let [only] = &mut choices[..] {
            let only = only.take();
            schema.remove("anyOf");
            schema.insert("allOf".to_owned(), vec![only].into());
        }
    }
}
