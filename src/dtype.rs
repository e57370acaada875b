//! The types of a tensor's elements.

use crate::real::Bounded;
use half::f16;
use std::fmt;

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    /// 16-bit float, for storage: every operation reads it exactly, computes in f32, and rounds what it
    /// stores. A GPU needs the feature `SHADER_F16`; without it, making such a tensor is a typed error.
    F16,
    /// 32-bit float: the working type of every device.
    F32,
    /// 64-bit float, on the CPU device only: the truth that results are measured against.
    F64,
    /// A value with the bound of its error, on the CPU device only; see [`Bounded`].
    Bounded,
    /// [`Bounded`] with the storage of f16: what every operation stores may be rounded to f16, either way.
    /// The reading that tells how far [`F16`](Self::F16) may stray.
    BoundedF16,
    /// 32-bit signed integer: labels and indices.
    I32,
}

impl DType {
    /// The size of one element in bytes, as a device stores it.
    pub fn size(self) -> usize {
        match self {
            DType::F16 => 2,
            DType::F32 | DType::I32 => 4,
            DType::F64 => 8,
            DType::Bounded | DType::BoundedF16 => 16,
        }
    }

    /// The type that computes for this one: f32 for f16, and otherwise itself. What a kernel keeps for its
    /// gradient, and sums over many elements, are of this type.
    pub fn wide(self) -> DType {
        match self {
            DType::F16 => DType::F32,
            DType::BoundedF16 => DType::Bounded,
            other => other,
        }
    }

    /// The type that stores half as much: f16 for f32, and otherwise itself. Mixed precision written with
    /// it, `x.to_dtype(x.dtype().half())`, can be read as [`Bounded`] too.
    pub fn half(self) -> DType {
        match self {
            DType::F32 => DType::F16,
            DType::Bounded => DType::BoundedF16,
            other => other,
        }
    }

    /// The type of the elements as the host sees them: both bounded types are read as [`Bounded`].
    pub(crate) fn host(self) -> DType {
        if self == DType::BoundedF16 { DType::Bounded } else { self }
    }

    /// Whether the type is one that gradients flow through.
    pub fn is_float(self) -> bool {
        self != DType::I32
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DType::F16 => "f16",
            DType::F32 => "f32",
            DType::F64 => "f64",
            DType::Bounded => "bounded",
            DType::BoundedF16 => "bounded f16",
            DType::I32 => "i32",
        })
    }
}

/// A Rust type that is some tensor's element.
pub trait Element: Copy + Default + fmt::Debug + Send + Sync + 'static {
    /// The tensor type it is the element of.
    const DTYPE: DType;
}

macro_rules! element {
    ($($type:ty => $dtype:ident),*) => {
        $(impl Element for $type { const DTYPE: DType = DType::$dtype; })*
    };
}
element!(f16 => F16, f32 => F32, f64 => F64, Bounded => Bounded, i32 => I32);
