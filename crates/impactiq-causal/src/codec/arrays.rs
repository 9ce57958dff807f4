//! Named arrays of numbers in the safetensors format: little-endian, one dimension each.

use safetensors::tensor::{Dtype, TensorView};
use safetensors::{SafeTensors, serialize};
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};

use crate::error::CausalError;

/// Collects arrays, then writes them.
#[derive(Default)]
pub(super) struct Writer {
    arrays: Vec<(String, Dtype, usize, Vec<u8>)>,
}

macro_rules! write_array {
    ($name:ident, $type:ty, $dtype:expr) => {
        pub(super) fn $name(&mut self, prefix: &str, name: &str, values: &[$type]) {
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            self.arrays.push((format!("{prefix}.{name}"), $dtype, values.len(), bytes));
        }
    };
}

impl Writer {
    write_array!(f64, f64, Dtype::F64);
    write_array!(f32, f32, Dtype::F32);
    write_array!(u64, u64, Dtype::U64);
    write_array!(u32, u32, Dtype::U32);
    write_array!(u8, u8, Dtype::U8);

    /// The bytes of all arrays; the order of the file is the format's own, by size and name.
    pub(super) fn finish(&self) -> Result<Vec<u8>, String> {
        let views = self
            .arrays
            .iter()
            .map(|(name, dtype, n, bytes)| {
                let view = TensorView::new(*dtype, vec![*n], bytes).map_err(|error| error.to_string())?;
                Ok((name.clone(), view))
            })
            .collect::<Result<Vec<_>, String>>()?;
        serialize(views, None).map_err(|error| error.to_string())
    }
}

/// Hands out arrays by name, each once.
pub(super) struct Reader<'a> {
    tensors: SafeTensors<'a>,
    left: Vec<String>,
}

macro_rules! read_array {
    ($name:ident, $type:ty, $dtype:expr) => {
        pub(super) fn $name(&mut self, prefix: &str, name: &str) -> Result<Vec<$type>, CausalError> {
            const SIZE: usize = size_of::<$type>();
            let bytes = self.bytes(prefix, name, $dtype)?;
            Ok(bytes
                .chunks_exact(SIZE)
                .map(|chunk| {
                    let mut value = [0; SIZE];
                    value.copy_from_slice(chunk);
                    <$type>::from_le_bytes(value)
                })
                .collect())
        }
    };
}

impl<'a> Reader<'a> {
    /// Reads the header; array bounds are checked against the bytes.
    ///
    /// # Errors
    /// [`CausalError::Corrupt`] for anything that is not the format, and for names that
    /// stand twice (the format's own reader would keep one of them in silence).
    pub(super) fn new(bytes: &'a [u8]) -> Result<Self, CausalError> {
        let bad = |problem: String| CausalError::corrupt("the arrays", problem);
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| bad(error.to_string()))?;
        let left = names(bytes).map_err(bad)?;
        let mut sorted: Vec<&String> = left.iter().collect();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(bad(format!("'{}' stands twice", pair[0])));
        }
        Ok(Reader { tensors, left })
    }

    read_array!(f64, f64, Dtype::F64);
    read_array!(f32, f32, Dtype::F32);
    read_array!(u64, u64, Dtype::U64);
    read_array!(u32, u32, Dtype::U32);
    read_array!(u8, u8, Dtype::U8);

    fn bytes(&mut self, prefix: &str, name: &str, dtype: Dtype) -> Result<&'a [u8], CausalError> {
        let name = format!("{prefix}.{name}");
        let view = self
            .tensors
            .tensor(&name)
            .map_err(|_| CausalError::corrupt(format!("array '{name}'"), "it is not there"))?;
        if view.dtype() != dtype || view.shape().len() != 1 {
            let problem = format!("it holds {} in {} dimensions", view.dtype(), view.shape().len());
            return Err(CausalError::corrupt(format!("array '{name}'"), problem));
        }
        self.left.retain(|other| *other != name);
        Ok(view.data())
    }

    /// # Errors
    /// [`CausalError::Corrupt`] for arrays that nobody asked for.
    pub(super) fn finish(self) -> Result<(), CausalError> {
        match self.left.first() {
            None => Ok(()),
            Some(name) => Err(CausalError::corrupt(format!("array '{name}'"), "it belongs to nothing")),
        }
    }
}

/// Every name of the header in its order, repeated ones repeatedly.
fn names(bytes: &[u8]) -> Result<Vec<String>, String> {
    struct Names;
    impl<'de> Visitor<'de> for Names {
        type Value = Vec<String>;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a table of arrays")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut names = Vec::new();
            while let Some((name, _)) = map.next_entry::<String, IgnoredAny>()? {
                names.push(name);
            }
            Ok(names)
        }
    }
    let length = bytes.get(..8).and_then(|b| b.try_into().ok()).map(u64::from_le_bytes).ok_or("no header")?;
    let end = usize::try_from(length).ok().and_then(|n| n.checked_add(8)).ok_or("no header")?;
    let header = bytes.get(8..end).ok_or("no header")?;
    let mut json = serde_json::Deserializer::from_slice(header);
    json.deserialize_map(Names).map_err(|error| error.to_string())
}
