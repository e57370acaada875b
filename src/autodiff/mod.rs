//! Derivatives: reverse mode any number of times, forward mode, and their compositions.
//!
//! Every operation on a tensor that descends from a [`variable`](crate::Tensor::variable) leaves a node that
//! knows its rule, its inputs' nodes, and the values its derivative reads. Reverse mode walks the nodes
//! from the last to the first, forward mode from the first to the last; both speak in tensor operations,
//! so a derivative can be differentiated again. The graph is held by the tensors alone and goes with them.

mod checkpoint;
mod composed;
mod graph;
mod jacobian;
mod map;
mod per_example;
mod transform;

pub use checkpoint::checkpoint;
pub(crate) use composed::{composed_jvp, composed_vjp};
pub use graph::{At, Differentiable};
pub(crate) use graph::{Edge, bit, record, record_rule};
pub use jacobian::{hessian, jacobian};
pub(crate) use map::record_map;
pub use per_example::per_example_grad;
pub(crate) use transform::forward_linear;
pub use transform::{Gradients, hvp, jvp, vjp};
