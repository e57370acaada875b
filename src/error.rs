//! What can go wrong, each with the operation, what it was given, and the remedy.

use std::path::PathBuf;

/// The result of everything in gradus that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// Why an operation could not be carried out. `Display` and `Debug` print the same sentence.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Shapes that do not fit the operation or each other.
    #[error("{op}: shapes do not fit: {given}. {remedy}")]
    Shape {
        /// The operation.
        op: &'static str,
        /// The shapes, and what is wrong with them.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// An element type the operation does not take.
    #[error("{op}: unsupported element type: {given}. {remedy}")]
    DType {
        /// The operation.
        op: &'static str,
        /// The types it was given.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// Tensors that live on different devices, or on one that cannot do what was asked.
    #[error("{op}: wrong device: {given}. {remedy}")]
    Device {
        /// The operation.
        op: &'static str,
        /// The devices it was given.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// An axis beyond the rank of the tensor, or named twice.
    #[error("{op}: axis out of range: {given}. {remedy}")]
    Axis {
        /// The operation.
        op: &'static str,
        /// The axis and the shape.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// An argument without meaning here: a stride of zero, a negative rate, a range that is empty.
    #[error("{op}: bad argument: {given}. {remedy}")]
    Argument {
        /// The operation.
        op: &'static str,
        /// The argument and its value.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// An index or label outside what it indexes.
    #[error("{op}: index out of range: {given}. {remedy}")]
    Index {
        /// The operation.
        op: &'static str,
        /// The index and the limit.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// A gradient that does not exist.
    #[error("{op}: no gradient: {given}. {remedy}")]
    NoGradient {
        /// The operation.
        op: &'static str,
        /// Why it does not exist.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// An operation failed while a gradient was computed; names the forward operation and its shapes.
    #[error("backward through {op} {shapes}: {source}")]
    Backward {
        /// The forward operation whose gradient was being computed.
        op: &'static str,
        /// The shapes of its inputs and outputs.
        shapes: String,
        /// What failed.
        source: Box<Error>,
    },
    /// What a function that is recorded to be replayed cannot do; see [`Capture`](crate::Capture).
    #[error("{op}: cannot be replayed: {given}. {remedy}")]
    Capture {
        /// The operation.
        op: &'static str,
        /// What it was asked to do.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// No adapter answers to the request.
    #[error("device: no such adapter: {given}. {remedy}")]
    NoAdapter {
        /// What was asked for, and what there is.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// The device has no memory for the request, or its limits forbid a buffer of this size.
    #[error("{op}: out of memory: {given}. {remedy}")]
    OutOfMemory {
        /// The operation.
        op: &'static str,
        /// The bytes asked for, and the limit where it is known.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// The driver or wgpu rejected what was submitted: a defect of a kernel, not of the caller's data.
    #[error("{op}: rejected by the device: {given}. {remedy}")]
    Validation {
        /// The operation.
        op: &'static str,
        /// The message.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// The device is gone: reset, unplugged, or destroyed.
    #[error("{op}: device lost: {given}. {remedy}")]
    DeviceLost {
        /// The operation.
        op: &'static str,
        /// What the driver said.
        given: String,
        /// What to do about it.
        remedy: String,
    },
    /// A file that cannot be read or written.
    #[error("{op}: cannot access {}: {source}. {remedy}", path.display())]
    Io {
        /// The operation.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// The operating system's answer.
        source: std::io::Error,
        /// What to do about it.
        remedy: String,
    },
    /// A file whose contents are not what they should be.
    #[error("{op}: malformed data: {given}. {remedy}")]
    Format {
        /// The operation.
        op: &'static str,
        /// The file, and what is wrong with it.
        given: String,
        /// What to do about it.
        remedy: String,
    },
}

impl std::fmt::Debug for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

macro_rules! constructors {
    ($($name:ident => $variant:ident),* $(,)?) => {
        impl Error {
            $(pub(crate) fn $name(op: &'static str, given: impl Into<String>, remedy: impl Into<String>) -> Self {
                Error::$variant { op, given: given.into(), remedy: remedy.into() }
            })*
        }
    };
}
constructors! {
    shape => Shape, dtype => DType, device => Device, axis => Axis, argument => Argument, index => Index,
    no_gradient => NoGradient, capture => Capture, out_of_memory => OutOfMemory, validation => Validation,
    device_lost => DeviceLost, format => Format,
}

impl Error {
    pub(crate) fn io(
        op: &'static str,
        path: impl Into<PathBuf>,
        source: std::io::Error,
        remedy: impl Into<String>,
    ) -> Self {
        Error::Io { op, path: path.into(), source, remedy: remedy.into() }
    }
}
