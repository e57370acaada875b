//! One room per family of operations; see [`Op`](crate::op::Op) for what a room contains.

mod conv;
mod index;
mod loss;
mod matmul;
mod pointwise;
mod pool;
pub mod random;
mod reduce;
mod views;

pub use conv::Conv2dOptions;

pub use loss::Reduction;
pub use pool::Pool2d;
pub use random::Stream;

use crate::verify::Room;

/// Every operation with its cases. Tests, `verify`, the mutation run and the printed table walk this list.
pub fn rooms() -> Vec<Room> {
    [pointwise::rooms(), views::rooms(), matmul::rooms(), conv::rooms(), reduce::rooms()].into_iter().flatten().collect()
    [reduce::rooms(), crate::optim::rooms()].into_iter().flatten().collect()
    [reduce::rooms(), random::rooms()].into_iter().flatten().collect()
    [reduce::rooms(), pool::rooms(), random::rooms()].into_iter().flatten().collect()
    [reduce::rooms(), pool::rooms(), index::rooms(), random::rooms()].into_iter().flatten().collect()
    [reduce::rooms(), pool::rooms(), index::rooms(), loss::rooms(), random::rooms()]
        .into_iter()
        .flatten()
        .collect()
}
