//! The labs: theorems turned into measured numbers.

pub mod claim;
pub mod report;
