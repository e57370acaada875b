//! One room per family of operations; see [`Op`](crate::op::Op) for what a room contains.

mod arrange;
mod attention;
mod batch_norm;
mod conv;
pub(crate) mod dropout;
mod einsum;
mod fusion;
mod index;
mod linalg;
mod loss;
mod matmul;
mod norm;
mod pointwise;
mod pool;
pub mod random;
mod recurrent;
mod reduce;
mod resize;
mod rotary;
mod scan;
mod softmax;
mod sort;
mod statistics;
mod views;

pub use attention::Attention;
pub use batch_norm::BatchNormOutput;
pub use conv::{Conv1dOptions, Conv2dOptions, Conv3dOptions, ConvOptions};
pub use index::Scatter;
pub use linalg::{Spectrum, lanczos};
pub use loss::{ClassLoss, CtcLoss, Reduction};
pub use pool::{Pool, Pool1d, Pool2d, Pool3d};
pub use random::Stream;
pub use recurrent::{Cell, RecurrentOutput, RecurrentWeights, Sequence};
pub use resize::{Coordinates, Interpolation, Resize, Rounding};
pub use rotary::{Pairs, Rotary};
pub use scan::Scan;

use crate::verify::Room;

/// Every operation with its cases. Tests, `verify`, the mutation run and the printed table walk this list.
pub fn rooms() -> Vec<Room> {
    [
        pointwise::rooms(),
        views::rooms(),
        matmul::rooms(),
        conv::rooms(),
        pool::rooms(),
        resize::rooms(),
        reduce::rooms(),
        fusion::rooms(),
        softmax::rooms(),
        batch_norm::rooms(),
        norm::rooms(),
        attention::rooms(),
        rotary::rooms(),
        loss::rooms(),
        index::rooms(),
        sort::rooms(),
        scan::rooms(),
        arrange::rooms(),
        statistics::rooms(),
        einsum::rooms(),
        random::rooms(),
        dropout::rooms(),
        recurrent::rooms(),
        linalg::rooms(),
        crate::optim::rooms(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
