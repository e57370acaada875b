//! One room per family of operations; see [`Op`](crate::op::Op) for what a room contains.

mod matmul;
pub mod random;
mod reduce;

use crate::verify::Room;

/// Every operation with its cases. Tests, `verify`, the mutation run and the printed table walk this list.
pub fn rooms() -> Vec<Room> {
    [reduce::rooms()].into_iter().flatten().collect()
}
