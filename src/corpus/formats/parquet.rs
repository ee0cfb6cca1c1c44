//! Rows of a Parquet file as JSON values.
//!
//! Columns whose type means nothing to a data set of questions, such as an interval, are left out: the reader beneath
//! would end the program over them.

use std::cell::Cell;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Once};

use parquet::basic::{ConvertedType, Repetition, Type as Physical};
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};

/// The rows of an opened file.
pub struct ParquetRows {
    rows: RowIter<'static>,
    pub total: u64,
}

impl ParquetRows {
    /// Errors say what is wrong with the file as a whole.
    pub fn open(file: File) -> Result<Self, String> {
        guarded(|| {
            let reader = SerializedFileReader::new(file)?;
            let metadata = reader.metadata().file_metadata();
            let total = u64::try_from(metadata.num_rows()).unwrap_or(0);
            let schema = metadata.schema();
            let fields: Vec<Arc<Type>> =
                schema.get_fields().iter().filter(|field| is_readable(field)).cloned().collect();
            let kept = Type::group_type_builder(schema.name()).with_fields(fields).build()?;
            Ok(Self { rows: RowIter::from_file_into(Box::new(reader)).project(Some(kept))?, total })
        })
    }

    /// The next row; after an error no row can be read any more.
    pub fn read(&mut self) -> Result<Option<Result<Value, String>>, String> {
        let row = guarded(|| self.rows.next().transpose())?;
        Ok(row.map(|row| object(&row)))
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// The reader trusts what the file says about itself: a damaged file can make it panic as well as fail. Such a panic is
/// an answer and not an accident, so it is not announced on the terminal either.
fn guarded<T>(read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, String> {
    static HUSH: Once = Once::new();
    HUSH.call_once(|| {
        let announce = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !GUARDED.get() {
                announce(panic);
            }
        }));
    });
    GUARDED.set(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    GUARDED.set(false);
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(ParquetError::General(problem) | ParquetError::EOF(problem))) => Err(problem),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the file contradicts itself".into()),
    }
}

/// Whether every part of a column has a type that the row reader knows.
fn is_readable(field: &Type) -> bool {
    let info = field.get_basic_info();
    if !info.has_repetition() {
        return false;
    }
    let converted = info.converted_type();
    if field.is_primitive() {
        use ConvertedType as C;
        return match field.get_physical_type() {
            Physical::INT32 => !matches!(
                converted,
                C::INT_64 | C::UINT_64 | C::TIME_MICROS | C::TIMESTAMP_MILLIS | C::TIMESTAMP_MICROS
            ),
            Physical::INT64 => matches!(
                converted,
                C::NONE
                    | C::INT_64
                    | C::UINT_64
                    | C::TIME_MICROS
                    | C::TIMESTAMP_MILLIS
                    | C::TIMESTAMP_MICROS
                    | C::DECIMAL
            ),
            Physical::BYTE_ARRAY => {
                matches!(converted, C::NONE | C::UTF8 | C::ENUM | C::JSON | C::BSON | C::DECIMAL)
            }
            Physical::FIXED_LEN_BYTE_ARRAY => matches!(converted, C::NONE | C::DECIMAL),
            _ => true,
        };
    }
    let fields = field.get_fields();
    let repeats = || fields.len() == 1 && fields[0].get_basic_info().repetition() == Repetition::REPEATED;
    let shaped = match converted {
        ConvertedType::LIST => repeats(),
        ConvertedType::MAP | ConvertedType::MAP_KEY_VALUE => {
            repeats() && !fields[0].is_primitive() && matches!(fields[0].get_fields().len(), 1 | 2)
        }
        _ => true,
    };
    shaped && fields.iter().all(|field| is_readable(field))
}

fn object(row: &Row) -> Result<Value, String> {
    let fields = row.get_column_iter().map(|(name, field)| Ok((name.clone(), value(name, field)?)));
    Ok(Value::Object(fields.collect::<Result<Map<_, _>, String>>()?))
}

fn value(column: &str, field: &Field) -> Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(truth) => (*truth).into(),
        Field::Byte(number) => (*number).into(),
        Field::Short(number) => (*number).into(),
        Field::Int(number) => (*number).into(),
        Field::Long(number) => (*number).into(),
        Field::UByte(number) => (*number).into(),
        Field::UShort(number) => (*number).into(),
        Field::UInt(number) => (*number).into(),
        Field::ULong(number) => (*number).into(),
        Field::Float16(number) => f32::from(*number).into(),
        Field::Float(number) => (*number).into(),
        Field::Double(number) => (*number).into(),
        Field::Decimal(_) => field.to_string().into(),
        Field::Str(text) => text.clone().into(),
        // Older writers mark no column as text.
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => text.into(),
            Err(_) => return Err(format!("the column `{column}` holds bytes that are no text")),
        },
        Field::Date(days) => date(i64::from(*days) * 86_400_000).unwrap_or_else(|| (*days).into()),
        Field::TimeMillis(time) => (*time).into(),
        Field::TimeMicros(time) => (*time).into(),
        Field::TimestampMillis(time) => date(*time).unwrap_or_else(|| (*time).into()),
        Field::TimestampMicros(time) => date(time.div_euclid(1000)).unwrap_or_else(|| (*time).into()),
        Field::Group(row) => object(row)?,
        Field::ListInternal(list) => {
            Value::Array(list.elements().iter().map(|field| value(column, field)).collect::<Result<_, _>>()?)
        }
        Field::MapInternal(map) => {
            let entry = |(key, field): &(Field, Field)| {
                let key = match value(column, key)? {
                    Value::String(key) => key,
                    key => key.to_string(),
                };
                Ok((key, value(column, field)?))
            };
            Value::Object(map.entries().iter().map(entry).collect::<Result<_, String>>()?)
        }
    })
}

/// Milliseconds since 1970 as RFC 3339, where a calendar has such a day.
fn date(milliseconds: i64) -> Option<Value> {
    Some(jiff::Timestamp::from_millisecond(milliseconds).ok()?.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::path::Path;

    fn fixture(name: &str) -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
    }

    fn read(path: &Path) -> Result<Vec<Result<Value, String>>, String> {
        let mut rows = ParquetRows::open(File::open(path).unwrap())?;
        let mut found = Vec::new();
        while let Some(row) = rows.read()? {
            found.push(row);
        }
        Ok(found)
    }

    #[test]
    fn a_table_of_the_hub_is_read_with_its_nested_choices() {
        let rows = read(&fixture("hub.parquet")).unwrap();
        assert_eq!(rows.len(), 3);
        let choices = json!({"label": ["A", "B", "C"], "text": ["spoon", "umbrella", "ladder"]});
        assert_eq!(rows[1].as_ref().unwrap()["choices"], choices);
        assert_eq!(rows[2].as_ref().unwrap()["answerKey"], "");
    }

    #[test]
    fn unusual_columns_become_json_or_are_left_out() {
        let rows = read(&fixture("odd_types.parquet")).unwrap();
        let first = rows[0].as_ref().unwrap();
        for (column, value) in [
            ("raw", json!("plain")),
            ("when", json!("2024-05-06T07:08:09Z")),
            ("price", json!("1.50")),
            ("tags", json!({"k": 1})),
            ("nested", json!([[1, 2], []])),
            ("u", json!(1u64 << 63)),
            ("flag", json!(true)),
            ("dict", json!("x")),
            ("st", json!({"x": 1, "y": [{"z": "q"}]})),
            ("none", json!(null)),
        ] {
            assert_eq!(first.get(column), Some(&value), "{column}");
        }
        assert_eq!(rows[1].as_ref().unwrap()["h"], Value::Null);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_never_a_panic() {
        let whole = std::fs::read(fixture("odd_types.parquet")).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("damaged.parquet");
        for length in [0, 3, 11, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(read(&path).is_err(), "{length} bytes");
        }
        for at in (0..whole.len()).step_by(7) {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x55;
            std::fs::write(&path, &bytes).unwrap();
            // Some bytes are only names and numbers; what counts is that the program goes on.
            let _ = read(&path);
        }
    }
}
