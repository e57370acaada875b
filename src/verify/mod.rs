//! Verification: cases, bounds, mutation.

mod case;
pub mod mutate;

pub use case::{Case, Input, Run};
pub(crate) use case::from_f64;

/// An operation with its cases: what the registry lists.
pub struct Room {
    /// The operation's name.
    pub op: &'static str,
    /// Its cases.
    pub cases: Vec<Case>,
}
