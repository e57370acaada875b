//! A deep-learning compute engine on wgpu: hand-written WGSL kernels, each held to an error bound that was
//! derived and not tuned.
//!
//! ```
//! use gradus::{Device, Tensor};
//!
//! let device = Device::auto()?; // the best adapter, else the CPU reference
//! let x = Tensor::from_slice(&device, &[0.5f32, -1.0, 2.0], [3])?.variable()?;
//! let y = x.tanh()?.square()?.sum(&[], false)?;
//! assert!((y.item()? - 1.72292).abs() < 1e-4);
//! let gradient = y.backward()?.get(&x)?.to_vec::<f32>()?;
//! assert!((gradient[0] - 0.72686).abs() < 1e-4);
//! # Ok::<(), gradus::Error>(())
//! ```
//!
//! # When an operation runs
//!
//! Pointwise work is recorded as a [`Formula`] and fused; it runs when something structured (a product, a
//! reduction) or a reader needs it. Structured work goes into the device's open command encoder at once,
//! which is submitted when enough has gathered or somebody reads. Reading waits; nothing else does. What is done
//! again and again can be recorded once: [`Capture`].
//!
//! # The map
//!
//! [`Tensor`] and [`Device`] are what most programs see; [`nn`], [`models`], [`optim`], [`data`] and [`io`] are
//! built on them alone. [`autodiff`] differentiates in both modes, any number of times. An operation is a room with
//! five windows, the trait [`op::Op`]; the rooms are in [`ops`]. References compute over [`real::Real`],
//! whose third reading carries the error bound; [`verify`] holds every device against it. [`gpu`] is the
//! only module that names wgpu. [`ntk`] has the kernels of wide networks, and [`labs`] turns theorems into
//! measured numbers.
// Whether types that hold wgpu's may be sent between threads takes rustdoc longer chains than the default.
#![recursion_limit = "256"]
#![deny(missing_docs)]

pub mod autodiff;
mod capture;
mod choice;
mod cpu;
pub mod data;
mod device;
mod dtype;
mod error;
mod footprint;
mod formula;
pub mod gpu;
pub mod io;
pub mod labs;
pub mod models;
pub mod nn;
pub mod ntk;
pub mod op;
pub mod ops;
pub mod optim;
pub mod real;
mod shape;
mod tensor;
pub mod verify;

pub use capture::Capture;
pub use cpu::Array;
pub use device::Device;
pub use dtype::{DType, Element};
pub use error::{Error, Result};
pub use formula::Formula;
pub use ops::rooms;
pub use shape::{MAX_RANK, Shape};
pub use tensor::{Host, Tensor};
