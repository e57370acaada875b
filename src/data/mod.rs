//! Data sets, and batches of them.
//!
//! An [`ImageSet`] holds labelled grey images as the bytes they came in; [`Batches`] decides which of them
//! go together, as a function of (seed, epoch) and of nothing else; [`ImageSet::gather`] turns such a batch
//! into the floats and labels that a tensor is made of. [`FashionMnist`] is the set that comes with gradus,
//! and [`idx`] reads others in the same format (MNIST, EMNIST, KMNIST, …). Smaller sets come too: [`digits`],
//! [`shakespeare`]'s plays, and the series [`sunspots`] and [`co2`]. [`Characters`] and [`Segments`] cut texts up.
//!
//! ```
//! use gradus::data::{Batches, FashionMnist};
//! # fn main() -> gradus::Result<()> {
//! let fashion = FashionMnist::bundled()?;
//! let batches = Batches::new(fashion.train.len(), 64, 7)?;
//! for indices in batches.epoch(0).take(2) {
//!     let batch = fashion.train.gather(&indices)?;
//!     assert_eq!(batch.shape(), [64, 1, 28, 28]);
//!     assert_eq!(batch.images.len(), 64 * 28 * 28);
//!     assert_eq!(batch.labels.len(), 64);
//! }
//! # Ok(())
//! # }
//! ```

mod batches;
mod bundled;
mod fashion;
pub mod idx;
mod images;
mod text;

pub use batches::{Batches, Epoch};
pub use bundled::{Series, co2, digits, shakespeare, sunspots};
pub use fashion::FashionMnist;
pub use images::{Batch, ImageSet};
pub use text::{Characters, SegmentBatch, Segments};
