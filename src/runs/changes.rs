//! What makes one run of another: the settings that differ, as a command line would set them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::RunSpec;

impl RunSpec {
    /// Overrides that make `other` of this run, tags and record aside.
    pub fn changes(&self, other: &Self) -> Vec<String> {
        let plain = |spec: &Self| {
            let plain = Self { record: None, tags: BTreeMap::new(), ..spec.clone() };
            serde_json::to_value(plain).unwrap_or_default()
        };
        let mut found = Vec::new();
        changes(&plain(self), &plain(other), "", &mut found);
        found
    }
}

/// `path=value` for every value that differs; what is not there any more is null.
fn changes(from: &Value, to: &Value, path: &str, out: &mut Vec<String>) {
    match (from, to) {
        (Value::Object(before), Value::Object(after)) => {
            let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let get = |of: &Map<String, Value>| of.get(key).cloned().unwrap_or(Value::Null);
                changes(&get(before), &get(after), &path, out);
            }
        }
        _ if from != to => out.push(format!("{path}={to}")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_make_one_run_of_another() {
        let one = RunSpec::preset("toy");
        let settings = ["training.learning_rate=1e-3", "rationale.placement=none", "training.steps=null"];
        let other = one.with_overrides(&settings.map(str::to_owned)).unwrap();
        let changes = one.changes(&other);
        assert_eq!(one.with_overrides(&changes).unwrap(), other, "{changes:?}");
        assert_eq!(changes.len(), 3);
        assert!(one.changes(&one).is_empty());
    }
}
