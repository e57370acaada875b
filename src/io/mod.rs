//! Models and runs in files: safetensors, readable by everything else that reads them.
//!
//! [`Params::save`](crate::nn::Params::save) writes a model, [`Checkpoint`] a run: the model, the state of
//! its optimiser, and where the run was. A run that was killed and continues from its checkpoint computes
//! the same bits as one that was not, on the same device.

mod archive;
mod checkpoint;

pub use checkpoint::Checkpoint;
