//! One room per family of operations; see [`Op`](crate::op::Op) for what a room contains.

pub mod random;
mod matmul;
mod reduce;
