//! The CPU device: its storage, and the arrays that references compute with.

pub(crate) mod gemm;

use crate::dtype::{DType, Element};
use crate::footprint::Held;
use crate::real::{Bounded, Real};
use crate::shape::{Layout, Shape};
use half::f16;
use rayon::prelude::*;
use std::sync::Arc;

/// A dense, row-major array: what a reference reads and returns.
#[derive(Clone, Debug, PartialEq)]
pub struct Array<T> {
    /// The extents.
    pub shape: Shape,
    /// The elements, row-major.
    pub data: Vec<T>,
}

/// Below this many elements a parallel loop costs more than it saves.
const PARALLEL: usize = 1024;

impl<T: Copy + Default + Send + Sync> Array<T> {
    /// The array whose element at row-major position `i` is `f(i)`, computed in parallel.
    pub fn from_fn(shape: Shape, f: impl Fn(usize) -> T + Send + Sync) -> Self {
        let count = shape.count();
        let piece = if count < PARALLEL { count } else { PARALLEL / 8 };
        Self::filled(shape, piece, &|first, out| {
            out.iter_mut().zip(first..).for_each(|(to, i)| *to = f(i));
        })
    }

    /// The array whose rows of `width` elements are `f(row)`, computed in parallel.
    pub fn from_rows(shape: Shape, width: usize, f: impl Fn(usize) -> Vec<T> + Send + Sync) -> Self {
        Self::filled(shape, width, &|first, out| out.copy_from_slice(&f(first / width)))
    }

    /// The array of which `fill` computes each piece, from the position of its first element on. The same code for all
    /// that is computed: what rayon is made of is large.
    fn filled(shape: Shape, piece: usize, fill: &(dyn Fn(usize, &mut [T]) + Sync)) -> Self {
        let mut data = vec![T::default(); shape.count()];
        match data.len() {
            0 => {}
            count if count <= piece => fill(0, &mut data),
            _ => data.par_chunks_mut(piece).enumerate().for_each(|(k, out)| fill(k * piece, out)),
        }
        Array { shape, data }
    }

    /// Row `row` of `width` elements.
    pub fn row(&self, row: usize, width: usize) -> &[T] {
        &self.data[row * width..(row + 1) * width]
    }
}

/// A tensor's storage on the CPU device.
#[derive(Clone, Debug)]
pub(crate) enum CpuData {
    F16(Arc<Held<f16>>),
    F32(Arc<Held<f32>>),
    F64(Arc<Held<f64>>),
    Bounded(Arc<Held<Bounded>>),
    I32(Arc<Held<i32>>),
}

/// An element the CPU device stores.
pub(crate) trait Stored: Element {
    fn wrap(data: Vec<Self>) -> CpuData;
    fn unwrap(data: &CpuData) -> Option<&Arc<Held<Self>>>;
}

macro_rules! stored {
    ($($type:ty => $variant:ident),*) => {$(
        impl Stored for $type {
            fn wrap(data: Vec<Self>) -> CpuData {
                CpuData::$variant(Arc::new(Held::new(data)))
            }
            fn unwrap(data: &CpuData) -> Option<&Arc<Held<Self>>> {
                match data {
                    CpuData::$variant(data) => Some(data),
                    _ => None,
                }
            }
        }
    )*};
}
stored!(f16 => F16, f32 => F32, f64 => F64, Bounded => Bounded, i32 => I32);

/// A [`Real`] the CPU device computes with.
pub(crate) trait StoredReal: Real + Stored {
    /// The elements of a view, if this type computes with them: f32 reads f16 too.
    fn load(data: &CpuData, layout: &Layout) -> Option<Vec<Self>> {
        Self::unwrap(data).map(|data| gather(data, layout))
    }

    /// Results as storage of type `dtype`, rounded if that is narrower.
    fn store(data: Vec<Self>, _dtype: DType) -> CpuData {
        Self::wrap(data)
    }
}

impl StoredReal for f32 {
    fn load(data: &CpuData, layout: &Layout) -> Option<Vec<f32>> {
        match data {
            CpuData::F16(data) => Some(gather(data, layout).into_iter().map(f32::from).collect()),
            CpuData::F32(data) => Some(gather(data, layout)),
            _ => None,
        }
    }

    fn store(data: Vec<f32>, dtype: DType) -> CpuData {
        match dtype {
            DType::F16 => f16::wrap(data.into_iter().map(f16::from_f32).collect()),
            _ => f32::wrap(data),
        }
    }
}

impl StoredReal for f64 {}

impl StoredReal for Bounded {
    fn store(mut data: Vec<Bounded>, dtype: DType) -> CpuData {
        if dtype == DType::BoundedF16 {
            data.iter_mut().for_each(|x| *x = x.stored_as_f16());
        }
        Bounded::wrap(data)
    }
}

/// The elements of a view, dense. Shares nothing: a reference owns what it reads.
pub(crate) fn gather<T: Copy + Send + Sync>(data: &[T], layout: &Layout) -> Vec<T> {
    if layout.is_contiguous() {
        let start = layout.offset.min(data.len());
        data[start..start + layout.shape.count()].to_vec()
    } else {
        layout.positions().map(|at| data[at]).collect()
    }
}
