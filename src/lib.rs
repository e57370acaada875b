//! # gradus
#![deny(missing_docs)]

pub mod autodiff;
mod cpu;
pub mod data;
mod device;
mod dtype;
mod error;
mod formula;
pub mod gpu;
pub mod io;
pub mod labs;
pub mod nn;
pub mod op;
pub mod ops;
pub mod optim;
pub mod real;
mod shape;
mod tensor;
pub mod verify;

pub use cpu::Array;
pub use device::Device;
pub use dtype::{DType, Element};
pub use error::{Error, Result};
pub use formula::Formula;
pub use shape::{MAX_RANK, Shape};
pub use tensor::{Host, Tensor};
