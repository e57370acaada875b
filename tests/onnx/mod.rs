//! ONNX's node tests: what `cases.json.gz` and `tensors.safetensors.gz` hold, and how a node is called.

pub mod nodes;

use flate2::read::GzDecoder;
use gradus::real::Bounded;
use gradus::{DType, Device, Error, Tensor};
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::collections::HashMap;
use std::io::Read;
use std::rc::Rc;

/// A tensor of a case. Whole numbers fit into f64.
pub struct Stored {
    pub data: Vec<f64>,
    pub shape: Vec<usize>,
    pub dtype: Dtype,
}

/// A case: one node, what it is given and what it should give.
pub struct Node {
    pub name: String,
    pub op: String,
    pub attributes: Value,
    pub inputs: Vec<Option<Rc<Stored>>>,
    pub outputs: Vec<Option<Rc<Stored>>>,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Stop {
    /// gradus does not have this.
    Missing(&'static str),
    /// gradus refused.
    Error(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

pub type Answer<T = Vec<Tensor>> = Result<T, Stop>;

/// Every case.
pub fn nodes() -> Vec<Node> {
    let bytes = unpack(include_bytes!("tensors.safetensors.gz"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensors: HashMap<String, Rc<Stored>> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let data = numbers(view.dtype(), view.data());
            (name, Rc::new(Stored { data, shape: view.shape().to_vec(), dtype: view.dtype() }))
        })
        .collect();
    let cases: Vec<Value> = serde_json::from_slice(&unpack(include_bytes!("cases.json.gz"))).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let list = |value: &Value| {
        value.as_array().unwrap().iter().map(|name| name.as_str().map(|name| tensors[name].clone())).collect()
    };
    cases
        .iter()
        .map(|case| Node {
            name: text(&case["name"]),
            op: text(&case["op"]),
            attributes: case["attributes"].clone(),
            inputs: list(&case["inputs"]),
            outputs: list(&case["outputs"]),
        })
        .collect()
}

fn unpack(packed: &[u8]) -> Vec<u8> {
    let mut bytes = vec![];
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    bytes
}

fn numbers(dtype: Dtype, bytes: &[u8]) -> Vec<f64> {
    fn words<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> Vec<f64> {
        bytes.chunks_exact(N).map(|b| read(b.try_into().unwrap())).collect()
    }
    match dtype {
        Dtype::F16 => words(bytes, |b| half::f16::from_le_bytes(b).into()),
        Dtype::F32 => words(bytes, |b| f32::from_le_bytes(b).into()),
        Dtype::F64 => words(bytes, f64::from_le_bytes),
        Dtype::I32 => words(bytes, |b| i32::from_le_bytes(b).into()),
        Dtype::I64 => words(bytes, |b| i64::from_le_bytes(b) as f64),
        Dtype::U64 => words(bytes, |b| u64::from_le_bytes(b) as f64),
        Dtype::BOOL | Dtype::U8 => bytes.iter().map(|&b| b.into()).collect(),
        Dtype::I8 => bytes.iter().map(|&b| f64::from(b as i8)).collect(),
        other => panic!("no reader for {other:?}"),
    }
}

impl Stored {
    pub fn is_float(&self) -> bool {
        matches!(self.dtype, Dtype::F16 | Dtype::F32 | Dtype::F64)
    }

    /// On a device, floats in the given type, everything else in i32. Numbers that f32 has to round bring
    /// that error into the bound.
    fn tensor(&self, device: &Device, float: DType) -> Answer<Tensor> {
        let made = match (self.is_float(), float) {
            (false, _) => {
                let whole: Vec<i32> = self.data.iter().map(|&v| v as i32).collect();
                if whole.iter().zip(&self.data).any(|(&i, &v)| f64::from(i) != v) {
                    return Err(Stop::Missing("integers beyond 32 bits"));
                }
                Tensor::from_slice(device, &whole, &self.shape)
            }
            (true, DType::F64) => Tensor::from_slice(device, &self.data, &self.shape),
            (true, DType::Bounded) => {
                let rounded = |v: f64| Bounded::new(v, (v - f64::from(v as f32)).abs());
                let bounded: Vec<Bounded> = self.data.iter().map(|&v| rounded(v)).collect();
                Tensor::from_slice(device, &bounded, &self.shape)
            }
            (true, _) => {
                let single: Vec<f32> = self.data.iter().map(|&v| v as f32).collect();
                Tensor::from_slice(device, &single, &self.shape)
            }
        };
        Ok(made?)
    }
}

/// A node being computed on a device, in a type.
pub struct Call<'a> {
    pub node: &'a Node,
    device: &'a Device,
    float: DType,
}

impl Node {
    /// What gradus gives for the outputs that the case asks for.
    pub fn run(&self, device: &Device, float: DType) -> Answer {
        let all = nodes::run(&Call { node: self, device, float })?;
        let asked = |(i, tensor)| self.outputs.get(i).is_some_and(Option::is_some).then_some(tensor);
        Ok(all.into_iter().enumerate().filter_map(asked).collect())
    }
}

impl Call<'_> {
    pub fn has(&self, index: usize) -> bool {
        self.node.inputs.get(index).is_some_and(Option::is_some)
    }

    /// An input as the case stores it.
    pub fn stored(&self, index: usize) -> &Stored {
        self.node.inputs[index].as_ref().unwrap()
    }

    /// An input on the device.
    pub fn x(&self, index: usize) -> Answer<Tensor> {
        self.stored(index).tensor(self.device, self.float)
    }

    /// An input that may be left out.
    pub fn optional(&self, index: usize) -> Answer<Option<Tensor>> {
        self.has(index).then(|| self.x(index)).transpose()
    }

    /// A tensor of the call's type from numbers.
    pub fn full(&self, shape: &[usize], value: f64) -> Answer<Tensor> {
        Ok(Tensor::full(self.device, self.float, shape, value)?)
    }

    /// An i32 tensor on the device.
    pub fn index(&self, data: &[i32], shape: &[usize]) -> Answer<Tensor> {
        Ok(Tensor::from_slice(self.device, data, shape)?)
    }

    /// The input, where gradus computes on floats alone: whole numbers, converted on the device, which f32
    /// holds exactly. Their results must be exact too.
    pub fn float(&self, index: usize) -> Answer<Tensor> {
        Ok(self.x(index)?.to_dtype(self.float)?)
    }

    /// An input of whole numbers, as arguments are given in ONNX.
    pub fn whole(&self, index: usize) -> Vec<i64> {
        self.stored(index).data.iter().map(|&v| v as i64).collect()
    }

    pub fn attribute(&self, name: &str) -> Option<&Value> {
        self.node.attributes.get(name)
    }

    pub fn number(&self, name: &str, default: f64) -> f64 {
        self.attribute(name).map_or(default, |v| v.as_f64().unwrap())
    }

    pub fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |v| v.as_i64().unwrap())
    }

    pub fn flag(&self, name: &str) -> bool {
        self.int(name, 0) != 0
    }

    pub fn text(&self, name: &str, default: &'static str) -> &str {
        self.attribute(name).map_or(default, |v| v.as_str().unwrap())
    }

    pub fn ints(&self, name: &str) -> Option<Vec<i64>> {
        self.attribute(name).map(|v| v.as_array().unwrap().iter().map(|v| v.as_i64().unwrap()).collect())
    }

    pub fn sizes(&self, name: &str) -> Option<Vec<usize>> {
        self.ints(name).map(|list| list.iter().map(|&v| v as usize).collect())
    }
}
