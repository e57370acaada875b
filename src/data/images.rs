//! Labelled grey images, held as bytes.

use super::idx;
use crate::error::{Error, Result};
use std::path::Path;

/// Grey images of one size, each with a label.
///
/// The pixels stay bytes, a quarter of what floats would take; [`gather`](ImageSet::gather) and
/// [`to_f32`](ImageSet::to_f32) make floats of those that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageSet {
    /// The pixels, `[len, height, width]` in row-major order; 0 is black and 255 is white.
    pub images: Vec<u8>,
    /// The class of each image.
    pub labels: Vec<u8>,
    /// Rows of an image.
    pub height: usize,
    /// Columns of an image.
    pub width: usize,
}

/// Some images of a set and their labels, ready to become tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// The pixels in [0, 1], `[B, 1, H, W]` in row-major order.
    pub images: Vec<f32>,
    /// The class of each image, `[B]`.
    pub labels: Vec<i32>,
    /// H, rows of an image.
    pub height: usize,
    /// W, columns of an image.
    pub width: usize,
}

impl Batch {
    /// The shape of `images` as a tensor: `[B, 1, H, W]`.
    pub fn shape(&self) -> [usize; 4] {
        [self.labels.len(), 1, self.height, self.width]
    }
}

/// A pixel as a float in [0, 1].
fn unit(pixel: u8) -> f32 {
    f32::from(pixel) / 255.0
}

impl ImageSet {
    /// A set of `labels.len()` images of `height` × `width` pixels.
    ///
    /// Errors: [`Error::Shape`] where `images` does not hold exactly that many pixels.
    pub fn new(images: Vec<u8>, labels: Vec<u8>, height: usize, width: usize) -> Result<Self> {
        let set = ImageSet { images, labels, height, width };
        let wanted = set.area().and_then(|area| area.checked_mul(set.len()));
        if wanted == Some(set.images.len()) {
            return Ok(set);
        }
        Err(Error::shape(
            "ImageSet::new",
            format!("{} pixels for {} labels × {height} × {width}", set.images.len(), set.len()),
            "Give labels × height × width pixels",
        ))
    }

    /// Reads a pair of idx files, plain or gzipped: images of rank 3, and their labels of rank 1, which
    /// must be less than `classes`.
    ///
    /// Errors: those of [`idx::read`]; [`Error::Format`] where the ranks are others or the counts differ;
    /// [`Error::Index`] for a label that is no class.
    pub fn from_idx(images: impl AsRef<Path>, labels: impl AsRef<Path>, classes: usize) -> Result<Self> {
        const OP: &str = "ImageSet::from_idx";
        let (images, labels) = (images.as_ref(), labels.as_ref());
        let (pixels, tags) = (idx::read(images)?, idx::read(labels)?);
        let [count, height, width] = pixels.shape[..] else {
            let given = format!("{}: dimensions {:?}", images.display(), pixels.shape);
            return Err(Error::format(OP, given, "Images have three dimensions; are the two files swapped?"));
        };
        let [tag_count] = tags.shape[..] else {
            let given = format!("{}: dimensions {:?}", labels.display(), tags.shape);
            return Err(Error::format(OP, given, "Labels have one dimension; are the two files swapped?"));
        };
        if count != tag_count {
            return Err(Error::format(
                OP,
                format!("{count} images in {}, {tag_count} labels in {}", images.display(), labels.display()),
                "Give the labels that belong to these images",
            ));
        }
        if let Some(position) = tags.data.iter().position(|&label| usize::from(label) >= classes) {
            return Err(Error::index(
                OP,
                format!(
                    "{}: label {} at {position}, {classes} classes",
                    labels.display(),
                    tags.data[position]
                ),
                "Labels start at 0; give the right number of classes",
            ));
        }
        Self::new(pixels.data, tags.data, height, width)
    }

    /// The number of images.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// The pixels of image `i`, `[height, width]`.
    ///
    /// Errors: [`Error::Index`] where there is no such image.
    pub fn image(&self, i: usize) -> Result<&[u8]> {
        self.pixels(i).ok_or_else(|| self.out_of_range("ImageSet::image", i))
    }

    /// All pixels as floats in [0, 1], `[len, 1, height, width]`.
    pub fn to_f32(&self) -> Vec<f32> {
        self.images.iter().copied().map(unit).collect()
    }

    /// All labels, in the type that tensors of classes have.
    pub fn to_labels(&self) -> Vec<i32> {
        self.labels.iter().copied().map(i32::from).collect()
    }

    /// The images at `indices`, in that order and as often as they are named there.
    ///
    /// Errors: [`Error::Index`] where one of them does not exist.
    pub fn gather(&self, indices: &[u32]) -> Result<Batch> {
        // Where the fields contradict each other, the first image asked for tells; reserve nothing for it.
        let area = self.area().filter(|&area| area <= self.images.len()).unwrap_or(0);
        let mut images = Vec::with_capacity(indices.len().saturating_mul(area));
        let mut labels = Vec::with_capacity(indices.len());
        for &index in indices {
            let i = index as usize;
            let (Some(pixels), Some(&label)) = (self.pixels(i), self.labels.get(i)) else {
                return Err(self.out_of_range("ImageSet::gather", i));
            };
            images.extend(pixels.iter().copied().map(unit));
            labels.push(i32::from(label));
        }
        Ok(Batch { images, labels, height: self.height, width: self.width })
    }

    fn area(&self) -> Option<usize> {
        self.height.checked_mul(self.width)
    }

    /// The fields are public, so nothing is taken for granted here.
    fn pixels(&self, i: usize) -> Option<&[u8]> {
        let area = self.area()?;
        let start = area.checked_mul(i)?;
        if i < self.len() { self.images.get(start..start.checked_add(area)?) } else { None }
    }

    fn out_of_range(&self, op: &'static str, i: usize) -> Error {
        let given = format!("image {i} of {} of {} × {}", self.len(), self.height, self.width);
        Error::index(op, given, "Give indices less than the number of images")
    }
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::{Scratch, gzip, idx};
    use super::*;

    fn three() -> ImageSet {
        ImageSet::new(vec![0, 51, 102, 153, 204, 255], vec![4, 5, 6], 1, 2).unwrap()
    }

    #[test]
    fn gather_follows_the_indices() {
        let batch = three().gather(&[2, 0, 2]).unwrap();
        assert_eq!(batch.shape(), [3, 1, 1, 2]);
        assert_eq!(batch.images, [0.8, 1.0, 0.0, 0.2, 0.8, 1.0]);
        assert_eq!(batch.labels, [6, 4, 6]);
        assert_eq!(three().gather(&[]).unwrap().shape(), [0, 1, 1, 2]);
    }

    #[test]
    fn floats_lie_between_zero_and_one() {
        assert_eq!(three().to_f32(), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]);
        assert_eq!(three().to_labels(), [4, 5, 6]);
        assert_eq!(three().image(1).unwrap(), [102, 153]);
    }

    #[test]
    fn an_image_that_does_not_exist_is_an_index_error() {
        assert!(matches!(three().image(3), Err(Error::Index { .. })));
        assert!(matches!(three().image(usize::MAX), Err(Error::Index { .. })));
        assert!(matches!(three().gather(&[0, 3]), Err(Error::Index { .. })));
        let broken = ImageSet { images: vec![0; 3], ..three() };
        assert!(matches!(broken.gather(&[1]), Err(Error::Index { .. })));
        let broken = ImageSet { height: usize::MAX / 2, ..three() };
        assert!(matches!(broken.gather(&[0]), Err(Error::Index { .. })));
        assert!(matches!(broken.image(0), Err(Error::Index { .. })));
    }

    #[test]
    fn pixels_must_fill_the_images() {
        for (pixels, height) in [(5, 1), (7, 1), (6, 2), (0, usize::MAX)] {
            let set = ImageSet::new(vec![0; pixels], vec![0; 3], height, 2);
            assert!(matches!(set, Err(Error::Shape { .. })), "{pixels} pixels, height {height}");
        }
    }

    #[test]
    fn a_pair_of_files_must_agree() {
        let scratch = Scratch::new("images-pair");
        let images = scratch.write("images", &idx(&[3, 1, 2], &[0, 51, 102, 153, 204, 255]));
        let labels = scratch.write("labels.gz", &gzip(&idx(&[3], &[4, 5, 6])));
        assert_eq!(ImageSet::from_idx(&images, &labels, 7).unwrap(), three());

        let fewer = scratch.write("fewer", &idx(&[2], &[4, 5]));
        let error = ImageSet::from_idx(&images, &fewer, 7).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error}");
        assert!(error.to_string().contains("3 images") && error.to_string().contains("2 labels"), "{error}");

        let error = ImageSet::from_idx(&images, &labels, 6).unwrap_err();
        assert!(matches!(error, Error::Index { .. }), "{error}");
        assert!(error.to_string().contains("label 6 at 2, 6 classes"), "{error}");

        for (a, b) in [(&labels, &images), (&images, &images)] {
            let error = ImageSet::from_idx(a, b, 7).unwrap_err();
            assert!(error.to_string().contains("swapped"), "{error}");
        }
    }
}
