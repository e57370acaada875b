//! Verification: every operation, on every device, against a bound that was derived and not tuned.
//!
//! A [`Case`] is one call. It runs on the device in f32, and on the CPU over
//! [`Bounded`](crate::real::Bounded), which gives each element of the truth with the error that WGSL
//! permits. The derivative rules are checked in f64 against central differences and against one another.
//! `verify --mutate` asks the opposite question: would the cases notice if the shader were wrong?

mod case;
mod compare;
mod half;
mod launched;
pub mod mutate;
mod mutation;
mod run;

pub(crate) use case::from_f64;
pub use case::{Case, Input, Run};
pub use compare::{Comparison, compare};
pub use launched::{launched_kernels, launched_kernels_with};
pub use mutation::{MutationRow, mutate_shaders};
pub use run::{Bench, Direction, Finding, Row, find, verify};

/// An operation with its cases: what the registry lists.
pub struct Room {
    /// The operation's name.
    pub op: &'static str,
    /// Its cases.
    pub cases: Vec<Case>,
}
