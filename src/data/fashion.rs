//! Fashion-MNIST: small pictures of clothes, ten classes.

use super::ImageSet;
use super::bundled::{self, file};
use crate::error::{Error, Result};
use std::path::Path;

/// Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747): 28 × 28 grey pictures of clothes.
///
/// Gradus comes with a class-balanced subset of 5000 training and 2000 test images;
/// [`from_dir`](FashionMnist::from_dir) reads the full 60 000 and 10 000 where you have them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FashionMnist {
    /// The images to learn from.
    pub train: ImageSet,
    /// The images to test on.
    pub test: ImageSet,
}

/// The folder of the four files, inside a folder of data sets.
const FOLDER: &str = "fashion-mnist";

impl FashionMnist {
    /// The names of the classes, by label.
    pub const CLASSES: [&str; 10] = [
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ];

    /// The subset that comes with gradus.
    ///
    /// It is read from the folder `fashion-mnist` inside the first of these that has it: the folder that
    /// the environment variable `GRADUS_DATA` names, and then no other is tried; `data` in the current
    /// folder; `data` in the sources that this crate was built from. A program shipped without those
    /// sources brings a copy of `data` and sets `GRADUS_DATA`, or calls
    /// [`from_dir`](FashionMnist::from_dir).
    ///
    /// Errors: [`Error::Io`] where none has it, naming what was tried; those of
    /// [`from_dir`](FashionMnist::from_dir).
    pub fn bundled() -> Result<Self> {
        Self::from_dir(bundled::folder("FashionMnist::bundled", FOLDER, "train-images-idx3-ubyte")?)
    }

    /// The data set from the four files of the original in `folder` (`train-images-idx3-ubyte`,
    /// `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`, `t10k-labels-idx1-ubyte`), each plain or with
    /// the ending `.gz`, which is preferred. Any number of images will do.
    ///
    /// Errors: those of [`ImageSet::from_idx`]; [`Error::Format`] where the two parts differ in image size.
    pub fn from_dir(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        let part = |name: &str| {
            ImageSet::from_idx(
                file(folder, &format!("{name}-images-idx3-ubyte")),
                file(folder, &format!("{name}-labels-idx1-ubyte")),
                Self::CLASSES.len(),
            )
        };
        let (train, test) = (part("train")?, part("t10k")?);
        let [a, b] = [&train, &test].map(|set| (set.height, set.width));
        if a != b {
            return Err(Error::format(
                "FashionMnist::from_dir",
                format!(
                    "{}: training images are {} × {}, test images {} × {}",
                    folder.display(),
                    a.0,
                    a.1,
                    b.0,
                    b.1
                ),
                "Give two parts of one data set",
            ));
        }
        Ok(FashionMnist { train, test })
    }
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::{Scratch, gzip, idx};
    use super::*;
    use std::path::PathBuf;

    /// Four files of `count` images each; the images count up.
    fn write_set(scratch: &Scratch, folder: &str, train_side: u32, test_side: u32, ending: &str) -> PathBuf {
        for (part, side) in [("train", train_side), ("t10k", test_side)] {
            let pack = |bytes: Vec<u8>| if ending.is_empty() { bytes } else { gzip(&bytes) };
            let pixels = vec![7; (3 * side * side) as usize];
            scratch.write(
                &format!("{folder}/{part}-images-idx3-ubyte{ending}"),
                &pack(idx(&[3, side, side], &pixels)),
            );
            scratch
                .write(&format!("{folder}/{part}-labels-idx1-ubyte{ending}"), &pack(idx(&[3], &[0, 1, 9])));
        }
        scratch.0.join(folder)
    }

    #[test]
    fn the_bundled_subset_is_balanced() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data").join(FOLDER);
        let fashion = FashionMnist::from_dir(folder).unwrap();
        for (set, each) in [(&fashion.train, 500), (&fashion.test, 200)] {
            assert_eq!((set.len(), set.height, set.width), (10 * each, 28, 28));
            for label in 0..10 {
                assert_eq!(set.labels.iter().filter(|&&l| l == label).count(), each);
            }
        }
        // The order of the original, whose first training image is an ankle boot.
        assert_eq!(fashion.train.labels[..10], [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]);
        assert_eq!(fashion.test.labels[..10], [9, 2, 1, 1, 6, 1, 4, 6, 5, 7]);
        assert_eq!(FashionMnist::CLASSES[usize::from(fashion.train.labels[0])], "Ankle boot");
    }

    #[test]
    fn plain_and_gzipped_folders_read_alike() {
        let scratch = Scratch::new("fashion-alike");
        let plain = FashionMnist::from_dir(write_set(&scratch, "plain", 2, 2, "")).unwrap();
        let packed = FashionMnist::from_dir(write_set(&scratch, "packed", 2, 2, ".gz")).unwrap();
        assert_eq!(plain, packed);
        assert_eq!(plain.test.labels, [0, 1, 9]);
    }

    #[test]
    fn a_label_without_class_and_parts_of_two_sizes_are_refused() {
        let scratch = Scratch::new("fashion-refused");
        let folder = write_set(&scratch, "sizes", 2, 3, "");
        let error = FashionMnist::from_dir(&folder).unwrap_err();
        assert!(error.to_string().contains("2 × 2") && error.to_string().contains("3 × 3"), "{error}");
        scratch.write("sizes/t10k-labels-idx1-ubyte", &idx(&[3], &[0, 10, 9]));
        let error = FashionMnist::from_dir(&folder).unwrap_err();
        assert!(
            matches!(error, Error::Index { .. }) && error.to_string().contains("label 10 at 1"),
            "{error}"
        );
        std::fs::remove_file(folder.join("train-labels-idx1-ubyte")).unwrap();
        assert!(matches!(FashionMnist::from_dir(&folder), Err(Error::Io { .. })));
    }
}
