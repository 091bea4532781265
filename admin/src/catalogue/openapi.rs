//! The HTTP interface as an OpenAPI 3.1 document, made of the catalogue.

use super::{Catalogue, Command, Kind, Param, Value};
use crate::failure::{Failure, Outcome};
use serde_json::{Map, Value as Json, json};

/// Where commands are, before their name.
pub const PATH: &str = "/api/v1/commands/";

impl Catalogue {
    /// The document. `version` is the program's.
    pub fn openapi(&self, version: &str) -> Json {
        let mut paths = Map::new();
        for command in self.commands() {
            paths.insert(format!("{PATH}{}", command.name()), json!({"post": operation(command)}));
        }
        json!({
            "openapi": "3.1.0",
            "info": {
                "title": "Waypost administration",
                "version": version,
                "description": "Every administrative command over HTTP. Parameters are those of the command line.",
                "license": {"name": "MIT OR Apache-2.0"},
            },
            "servers": [{"url": "/"}],
            "security": [{"token": []}, {"password": []}],
            "paths": paths,
            "components": components(),
        })
    }
}

fn operation(command: &Command) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for param in command.all_params() {
        properties.insert(param.name.to_owned(), schema(param));
        if param.mandatory {
            required.push(Json::from(param.name));
        }
    }
    let mut body = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        body["required"] = Json::Array(required.clone());
    }
    let mut text = command.about.to_owned();
    if !command.detail.is_empty() {
        text = format!("{text}\n\n{}", command.detail);
    }
    json!({
        "operationId": command.name(),
        "summary": command.about,
        "description": text,
        "tags": [command.noun],
        "requestBody": {
            "required": !required.is_empty(),
            "content": {"application/json": {"schema": body}},
        },
        "responses": {
            "200": {"$ref": "#/components/responses/Done"},
            "default": {"$ref": "#/components/responses/Failed"},
        },
    })
}

fn schema(param: &Param) -> Json {
    let mut schema = match param.kind {
        Kind::Text | Kind::Path => json!({"type": "string"}),
        Kind::Secret => json!({"type": "string", "format": "password", "writeOnly": true}),
        Kind::Switch | Kind::Bool => json!({"type": "boolean"}),
        Kind::Int => json!({"type": "integer", "format": "int64"}),
        Kind::Size => json!({"type": ["integer", "string"], "examples": [10_485_760, "10MB"]}),
        Kind::Quota => json!({"type": ["integer", "string"], "examples": ["10GB", "unlimited"]}),
        Kind::Span => json!({"type": "string", "examples": ["00:30:00", "30m"]}),
        Kind::Choice(words) => json!({"type": "string", "enum": words}),
        Kind::List => json!({"type": "array", "items": {"type": "string"}}),
        Kind::Edit => json!({"oneOf": [
            {"type": "array", "items": {"type": "string"}},
            {"type": "object", "additionalProperties": false, "properties": {
                "Add": {"type": "array", "items": {"type": "string"}},
                "Remove": {"type": "array", "items": {"type": "string"}},
            }},
        ]}),
    };
    let about = match param.without_effect {
        Some(why) => format!("{} Without effect: {why}.", param.about),
        None => param.about.to_owned(),
    };
    schema["description"] = about.into();
    schema
}

fn components() -> Json {
    let failure = json!({
        "type": "object",
        "properties": {
            "category": {"type": "string", "description": "PowerShell's error category."},
            "message": {"type": "string"},
            "target": {"type": "string", "description": "What it is about."},
            "command": {"type": "string"},
        },
    });
    let result = json!({
        "type": "object",
        "properties": {
            "records": {"type": "array", "items": {"type": "object"}},
            "warnings": {"type": "array", "items": {"type": "string"}},
            "whatIf": {"type": "array", "items": {"type": "string"}},
            "errors": {"type": "array", "items": {"$ref": "#/components/schemas/Failure"}},
            "exit": {"type": "integer", "description":
                "0 done, 1 failed, 2 wrong usage, 3 not found, 4 unavailable, 5 partly done."},
        },
    });
    let content = json!({
        "application/json": {"schema": {"$ref": "#/components/schemas/Result"}},
        "application/x-ndjson": {"schema": {"type": "object", "description":
            "Asked for by Accept: one event a line, as it comes; the last one is {\"end\":{\"exit\":0}}."}},
    });
    json!({
        "schemas": {"Failure": failure, "Result": result},
        "responses": {
            "Done": {"description": "The command has run.", "content": content},
            "Failed": {
                "description": "400 wrong usage, 401 who are you, 403 not allowed, 404 not found, 409 in use or there \
                                already, 500 failed, 503 retry later.",
                "content": content,
            },
        },
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "A token of New-ApiToken."},
            "password": {"type": "http", "scheme": "basic", "description": "A member of a role group."},
        },
    })
}

/// A parameter's value as a JSON body has it.
pub fn value(param: &Param, json: &Json) -> Outcome<Value> {
    let wrong = || Failure::usage(param.name, format!("-{} needs {}.", param.name, param.kind.what()));
    let texts = |items: &Json| -> Option<Vec<String>> {
        items.as_array()?.iter().map(|i| i.as_str().map(str::to_owned)).collect()
    };
    let found = match (param.kind, json) {
        (_, Json::Null) => Some(Value::Null),
        (Kind::Switch | Kind::Bool, Json::Bool(on)) => Some(Value::Flag(*on)),
        (Kind::Int, Json::Number(n)) => n.as_i64().map(Value::Int),
        (Kind::Size | Kind::Quota, Json::Number(n)) => n.as_u64().map(|n| Value::Size(Some(n))),
        (Kind::List | Kind::Edit, Json::Array(_)) => texts(json).map(Value::List),
        (Kind::Edit, Json::Object(edit)) => {
            let side = |name: &str| edit.get(name).map_or(Some(Vec::new()), texts);
            let known = edit.keys().all(|k| k == "Add" || k == "Remove");
            side("Add").zip(side("Remove")).filter(|_| known).map(|(add, remove)| Value::Edit { add, remove })
        }
        (kind, Json::String(text)) => kind.parse(text),
        _ => None,
    };
    found.ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_there() {
        let catalogue = Catalogue::new();
        let document = catalogue.openapi("1.2.3");
        assert_eq!(document["info"]["version"], "1.2.3");
        let paths = document["paths"].as_object().unwrap();
        assert_eq!(paths.len(), catalogue.commands().len());
        let new = &paths["/api/v1/commands/New-Mailbox"]["post"];
        let body = &new["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["properties"]["Password"]["format"], "password");
        assert_eq!(body["properties"]["WhatIf"]["type"], "boolean");
        assert_eq!(body["additionalProperties"], false);
    }

    #[test]
    fn values_of_bodies() {
        let read = |kind, json: Json| value(&Param::new("X", kind, ""), &json).ok();
        assert_eq!(read(Kind::Quota, json!("10MB")), Some(Value::Size(Some(10_485_760))));
        assert_eq!(read(Kind::Quota, json!(7)), Some(Value::Size(Some(7))));
        assert_eq!(read(Kind::Switch, json!(true)), Some(Value::Flag(true)));
        assert_eq!(read(Kind::Int, json!("7")), Some(Value::Int(7)));
        assert_eq!(read(Kind::Int, json!(1.5)), None);
        assert_eq!(read(Kind::List, json!(["a", "b"])), Some(Value::List(vec!["a".into(), "b".into()])));
        assert_eq!(read(Kind::List, json!([1])), None);
        let edit = Value::Edit { add: vec!["a".into()], remove: Vec::new() };
        assert_eq!(read(Kind::Edit, json!({"Add": ["a"]})), Some(edit));
        assert_eq!(read(Kind::Edit, json!({"Ad": ["a"]})), None);
        assert_eq!(read(Kind::Choice(&["Yes"]), json!("yes")), Some(Value::Text("Yes".into())));
    }
}
