//! The typed raw schema: what each column was when the model was trained.
//!
//! A model's manifest carries this, and every door (file, JSON, Arrow, Kafka) casts to
//! it before features and bins, so that the same row gets the same score everywhere.

use serde::{Deserialize, Serialize};

use crate::error::DataError;

/// The raw type of a column, independent of any file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RawType {
    /// true / false; 1 / 0 as a number.
    Boolean,
    /// Signed 64-bit integers (narrower and unsigned ones are widened).
    Integer,
    /// 32-bit floats: kept apart because 0.1f32 is not 0.1.
    Float32,
    /// 64-bit floats (and decimals).
    Float64,
    /// Text: a category.
    Text,
    /// A date, as days since 1970-01-01.
    Date,
    /// A moment, as microseconds since 1970-01-01T00:00:00Z.
    Timestamp,
}

/// A column's name and raw type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Name, with its case.
    pub name: String,
    /// Raw type.
    #[serde(rename = "type")]
    pub raw_type: RawType,
}

/// Columns in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Schema {
    fields: Vec<Field>,
}

impl Schema {
    /// A schema of fields in order.
    ///
    /// # Errors
    /// [`DataError::DuplicateColumn`] when a name stands twice.
    pub fn new(fields: Vec<Field>) -> Result<Self, DataError> {
        let mut names: Vec<&str> = fields.iter().map(|f| f.name.as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(DataError::DuplicateColumn { column: pair[0].to_owned() });
        }
        Ok(Schema { fields })
    }

    /// Fields in order.
    pub fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Names in order.
    pub fn names(&self) -> Vec<String> {
        self.fields.iter().map(|f| f.name.clone()).collect()
    }

    /// A field by name.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] with the closest name.
    pub fn field(&self, name: &str) -> Result<&Field, DataError> {
        self.fields.iter().find(|f| f.name == name).ok_or_else(|| DataError::missing_column(name, &self.names()))
    }

    /// The schema of a subset, in the order asked for.
    ///
    /// # Errors
    /// [`DataError::MissingColumn`] with the closest name.
    pub fn project(&self, names: &[String]) -> Result<Schema, DataError> {
        Schema::new(names.iter().map(|n| self.field(n).cloned()).collect::<Result<_, _>>()?)
    }
}
