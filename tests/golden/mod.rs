//! What PyTorch computed: the cases of `<area>.json` and the tensors of `<area>.safetensors`.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod calls;
mod calls_conv;
mod calls_index;
mod calls_training;

use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::HashMap;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

/// A case of an area.
pub struct Case {
    /// The area: the name of the two files.
    pub area: &'static str,
    /// The operation.
    pub op: String,
    /// Operation and case: tensors are called `id/what`.
    pub id: String,
    /// What stands beside the tensors.
    pub options: Value,
    /// The tensors' names, in the order in which they were made.
    pub tensors: Vec<String>,
}

/// A stored tensor. Integers fit into f64.
pub struct Stored {
    pub data: Vec<f64>,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
}

/// All cases of an operation of the area, or of every one.
pub fn cases_of(area: &'static str, op: Option<&str>) -> Vec<Case> {
    let all: Vec<Value> = serde_json::from_slice(read(area, "json")).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let cases: Vec<Case> = all
        .into_iter()
        .filter(|case| op.is_none_or(|op| case["op"] == op))
        .map(|case| Case {
            area,
            op: text(&case["op"]),
            id: format!("{}/{}", text(&case["op"]), text(&case["case"])),
            options: case["options"].clone(),
            tensors: case["tensors"].as_array().unwrap().iter().map(text).collect(),
        })
        .collect();
    assert!(!cases.is_empty(), "no golden case of {op:?} in {area}");
    cases
}

/// All cases of an operation of the area `torch`, or of every one.
pub fn cases(op: Option<&str>) -> Vec<Case> {
    cases_of("torch", op)
}

/// The bytes of a file of an area, read once.
fn read(area: &'static str, extension: &'static str) -> &'static [u8] {
    static FILES: LazyLock<Mutex<HashMap<String, &'static [u8]>>> = LazyLock::new(Mutex::default);
    let name = format!("{area}.{extension}");
    FILES.lock().unwrap().entry(name).or_insert_with_key(|name| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).leak()
    })
}

/// The tensor of this name in the area `torch`.
pub fn stored(name: &str) -> Stored {
    stored_in("torch", name)
}

fn stored_in(area: &'static str, name: &str) -> Stored {
    let file = SafeTensors::deserialize(read(area, "safetensors")).unwrap();
    let view = file.tensor(name).unwrap_or_else(|e| panic!("{area}: {name}: {e}"));
    let (bytes, dtype) = (view.data(), view.dtype());
    let data = match dtype {
        Dtype::F32 => words(bytes, |b| f32::from_le_bytes(b).into()),
        Dtype::I32 => words(bytes, |b| i32::from_le_bytes(b).into()),
        Dtype::F64 => words(bytes, f64::from_le_bytes),
        other => panic!("{name} is {other:?}"),
    };
    Stored { data, shape: view.shape().to_vec(), dtype }
}

fn words<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
    bytes.chunks_exact(N).map(|b| read(b.try_into().unwrap())).collect()
}

impl Case {
    /// The case's tensor of this name.
    pub fn stored(&self, what: &str) -> Stored {
        stored_in(self.area, &format!("{}/{what}", self.id))
    }

    pub fn has(&self, what: &str) -> bool {
        self.tensors.iter().any(|t| t == what)
    }

    pub fn number(&self, option: &str) -> f64 {
        self.options[option].as_f64().unwrap_or_else(|| panic!("{}: {option}", self.id))
    }

    pub fn whole(&self, option: &str) -> usize {
        self.options[option].as_u64().unwrap_or_else(|| panic!("{}: {option}", self.id)) as usize
    }

    pub fn flag(&self, option: &str) -> bool {
        self.options[option].as_bool().unwrap_or_else(|| panic!("{}: {option}", self.id))
    }

    /// A list of whole numbers.
    pub fn list(&self, option: &str) -> Vec<usize> {
        whole_list(&self.options[option])
    }

    /// A list of lists of whole numbers.
    pub fn lists(&self, option: &str) -> Vec<Vec<usize>> {
        self.options[option].as_array().unwrap().iter().map(whole_list).collect()
    }

    pub fn pair(&self, option: &str) -> [usize; 2] {
        self.array(option)
    }

    pub fn array<const N: usize>(&self, option: &str) -> [usize; N] {
        self.list(option).try_into().unwrap()
    }

    /// A list of axes.
    pub fn axes(&self, option: &str) -> Vec<isize> {
        self.list(option).into_iter().map(|a| a as isize).collect()
    }

    /// A whole number of either sign.
    pub fn signed(&self, option: &str) -> i64 {
        self.options[option].as_i64().unwrap_or_else(|| panic!("{}: {option}", self.id))
    }
}

fn whole_list(value: &Value) -> Vec<usize> {
    value.as_array().unwrap().iter().map(|v| v.as_u64().unwrap() as usize).collect()
}
