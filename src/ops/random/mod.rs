//! Random numbers as functions of (seed, stream, index).
pub mod philox;
