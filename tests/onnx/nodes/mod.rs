//! ONNX's operators in terms of gradus.

mod attention;
mod index;
mod linear;
mod loss;
mod norm;
mod optim;
mod pointwise;
mod recurrent;
mod reduce;
mod shape;
mod window;

use super::{Answer, Call, Stop};

/// What gradus gives for the node.
pub fn run(call: &Call) -> Answer {
    for family in [
        pointwise::run,
        reduce::run,
        shape::run,
        index::run,
        linear::run,
        norm::run,
        recurrent::run,
        attention::run,
        window::run,
        loss::run,
        optim::run,
    ] {
        if let Some(answer) = family(call) {
            return answer;
        }
    }
    Err(Stop::Missing("the operator"))
}
