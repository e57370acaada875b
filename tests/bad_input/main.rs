//! Wrong calls, each of which must give a typed error whose text names the operation, what was given and the
//! remedy. Nothing may panic.

#[path = "../common/mod.rs"]
mod common;
mod files;
mod layers;
mod own;
mod tensors;

use gradus::autodiff::At;
use gradus::data::{Batches, FashionMnist, ImageSet, idx};
use gradus::gpu::Gpu;
use gradus::io::Checkpoint;
use gradus::nn::{
    BatchNorm, Conv2d, Dropout, GroupNorm, Gru, Init, KvCache, LayerNorm, Linear, Lstm, LstmCell, Mode,
    MultiHeadAttention, Nonlinearity, Params, RecurrentOptions, Rnn,
};
use gradus::op::{self, Data, GpuView, Inputs, Meta, Op};
use gradus::ops::random::Stream;
use gradus::ops::{
    Attention, ClassLoss, Conv2dOptions, ConvOptions, CtcLoss, Pool, Pool2d, Reduction, Resize, Rotary, Scan,
    Scatter, lanczos,
};
use gradus::optim::{Adam, Ema, Group, Lamb, Lion, LossScaler, Optimizer, Plateau, RmsProp, Sgd};
use gradus::real::Real;
use gradus::{Array, DType, Device, Error, Result, Tensor, autodiff};
use std::path::{Path, PathBuf};

/// The kind of error expected, as the variant's name.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::Shape { .. } => "Shape",
        Error::DType { .. } => "DType",
        Error::Device { .. } => "Device",
        Error::Axis { .. } => "Axis",
        Error::Argument { .. } => "Argument",
        Error::Index { .. } => "Index",
        Error::NoGradient { .. } => "NoGradient",
        Error::Backward { .. } => "Backward",
        Error::NoAdapter { .. } => "NoAdapter",
        Error::OutOfMemory { .. } => "OutOfMemory",
        Error::Validation { .. } => "Validation",
        Error::DeviceLost { .. } => "DeviceLost",
        Error::Io { .. } => "Io",
        Error::Format { .. } => "Format",
        _ => "other",
    }
}

type Call<'a> = (&'a str, &'a str, Box<dyn Fn() -> Result<()> + 'a>);

/// Shorthand for a call whose value does not matter.
fn call<'a, T>(expected: &'a str, given: &'a str, f: impl Fn() -> Result<T> + 'a) -> Call<'a> {
    (expected, given, Box::new(move || f().map(|_| ())))
}

fn check(table: Vec<Call>) -> usize {
    let count = table.len();
    let mut wrong = Vec::new();
    for (row, (expected, given, f)) in table.into_iter().enumerate() {
        match f() {
            Ok(()) => wrong.push(format!("row {row} ({expected}, {given}): no error")),
            Err(error) => {
                let text = error.to_string();
                // Operation, problem, remedy: three parts, each with something in it.
                let parts = text.split([':', '.']).filter(|s| s.trim().len() > 3).count();
                if kind(&error) != expected || !text.contains(given) || parts < 3 {
                    wrong.push(format!("row {row} ({expected}, {given}): {}: {text}", kind(&error)));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    count
}

fn tensor(device: &Device, shape: &[usize]) -> Tensor {
    Tensor::zeros(device, shape).unwrap()
}

fn labels(device: &Device, values: &[i32]) -> Tensor {
    Tensor::from_slice(device, values, [values.len()]).unwrap()
}
