//! JSON that gives every value back exactly as it was, which plain JSON does not: it has no NaN and no infinities, its
//! reader may be off by the last bit of a number, and its keys are always text.
//!
//! What plain JSON can't hold is an object with the one key `#`: `{"#": "NaN"}` is a number in words, `{"#": [[1, "a"]]}` a
//! map whose keys are no text. A key of the data that begins with `#` gets one more.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value as Json};
use serde_yaml::with::singleton_map_recursive as enums;
use serde_yaml::{Mapping, Number, Value};

/// The key of what JSON has no form for.
const MARK: &str = "#";

/// A value as JSON.
pub fn to_json(value: &impl Serialize) -> Result<Json, String> {
    enums::serialize(value, serde_yaml::value::Serializer).map_err(|error| error.to_string()).and_then(json_of)
}

/// The value that was written.
pub fn from_json<T: DeserializeOwned>(json: &Json) -> Result<T, String> {
    enums::deserialize(value_of(json)?).map_err(|error| error.to_string())
}

fn json_of(value: Value) -> Result<Json, String> {
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(yes) => Json::Bool(yes),
        Value::String(text) => Json::String(text),
        Value::Number(number) => json_number(&number),
        Value::Sequence(all) => Json::Array(all.into_iter().map(json_of).collect::<Result<_, _>>()?),
        Value::Mapping(map) if map.keys().all(Value::is_string) => {
            let mut object = Map::new();
            for (key, value) in map {
                let key = key.as_str().unwrap_or_default();
                let key = if key.starts_with(MARK) { format!("{MARK}{key}") } else { key.to_owned() };
                object.insert(key, json_of(value)?);
            }
            Json::Object(object)
        }
        Value::Mapping(map) => {
            let pairs = map.into_iter().map(|(key, value)| Ok(Json::Array(vec![json_of(key)?, json_of(value)?])));
            marked(Json::Array(pairs.collect::<Result<_, String>>()?))
        }
        Value::Tagged(tagged) => return Err(format!("a value is tagged {}", tagged.tag)),
    })
}

fn marked(value: Json) -> Json {
    Json::Object(Map::from_iter([(MARK.to_owned(), value)]))
}

fn json_number(number: &Number) -> Json {
    if let Some(whole) = number.as_u64() {
        return whole.into();
    }
    if let Some(whole) = number.as_i64() {
        return whole.into();
    }
    let value = number.as_f64().unwrap_or(f64::NAN);
    let json = serde_json::Number::from_f64(value).filter(|number| {
        let read = serde_json::from_str::<f64>(&number.to_string());
        read.is_ok_and(|read| read.to_bits() == value.to_bits())
    });
    json.map_or_else(|| marked(Json::String(value.to_string())), Json::Number)
}

fn value_of(json: &Json) -> Result<Value, String> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(yes) => Value::Bool(*yes),
        Json::String(text) => Value::String(text.clone()),
        Json::Number(number) => Value::Number(match (number.as_u64(), number.as_i64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(whole)) => whole.into(),
            (None, None) => number.as_f64().unwrap_or(f64::NAN).into(),
        }),
        Json::Array(all) => Value::Sequence(all.iter().map(value_of).collect::<Result<_, _>>()?),
        Json::Object(object) => match object.get(MARK) {
            Some(Json::String(number)) => {
                let number = number.parse::<f64>().map_err(|_| format!("`{number}` is no number"))?;
                Value::Number(number.into())
            }
            Some(Json::Array(pairs)) => {
                let mut map = Mapping::new();
                for pair in pairs {
                    let [key, value] = pair.as_array().map_or(&[][..], Vec::as_slice) else {
                        return Err("a map with other keys than text is not made of pairs".into());
                    };
                    map.insert(value_of(key)?, value_of(value)?);
                }
                Value::Mapping(map)
            }
            _ => {
                let mut map = Mapping::new();
                for (key, value) in object {
                    let key = key.strip_prefix(MARK).unwrap_or(key);
                    map.insert(Value::String(key.into()), value_of(value)?);
                }
                Value::Mapping(map)
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    #[serde(tag = "is")]
    enum Inner {
        Loss { value: f64, by: Result<f32, String> },
    }

    fn back<T: Serialize + DeserializeOwned>(value: &T) -> T {
        let text = to_json(value).unwrap().to_string();
        assert!(!text.contains('\n'));
        from_json(&serde_json::from_str(&text).unwrap()).unwrap()
    }

    #[test]
    fn every_number_comes_back_bit_by_bit() {
        let numbers: Vec<f64> = vec![
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            -0.0,
            0.1,
            1.0 / 3.0,
            5e-324,
            f64::MAX,
            2.225_073_858_507_201_4e-308,
            9_007_199_254_740_993.0,
        ];
        let bits = |all: &[f64]| all.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back(&numbers)), bits(&numbers));
        let mut seed = 1u64;
        let many: Vec<f64> = (0..20_000)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                f64::from_bits(seed)
            })
            .filter(|number| !number.is_nan())
            .collect();
        assert_eq!(bits(&back(&many)), bits(&many));
        let single: Vec<f32> = many.iter().map(|number| *number as f32).collect();
        let bits = |all: &[f32]| all.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back(&single)), bits(&single));
    }

    #[test]
    fn numbers_come_back_from_within_tagged_values_too() {
        let Inner::Loss { value, by } = back(&Inner::Loss { value: f64::NAN, by: Ok(f32::INFINITY) });
        assert!(value.is_nan() && by == Ok(f32::INFINITY));
        let Inner::Loss { by, .. } = back(&Inner::Loss { value: 1.0, by: Err("no student".into()) });
        assert_eq!(by, Err("no student".into()));
    }

    #[test]
    fn keys_are_no_less_exact() {
        let places = BTreeMap::from([(3usize, "a".to_owned()), (12, "b".to_owned())]);
        assert_eq!(back(&places), places);
        let hostile = BTreeMap::from([("#".to_owned(), "NaN".to_owned()), ("##".to_owned(), "1".to_owned())]);
        assert_eq!(back(&hostile), hostile);
        let words = BTreeMap::from([("1".to_owned(), 1u64), ("true".to_owned(), u64::MAX)]);
        assert_eq!(back(&words), words);
    }
}
