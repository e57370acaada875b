//! Grids of small pictures: misclassified images, learned filters.
//!
//! ```
//! use gradus::labs::report::{ImageGrid, Picture};
//!
//! # let (bytes, w) = (vec![0; 28 * 28], [0.1; 8 * 25]);
//! let wrong = ImageGrid::new([Picture::ink(28, 28, bytes, "shirt → coat\n0.83")]);
//! let filters = w.chunks(25).enumerate();
//! let filters = ImageGrid::new(filters.map(|(i, w)| Picture::signed(5, 5, w, format!("filter {i}"))));
//! ```

use super::heat::compact;
use super::png::{Colour, data_uri};
use super::text::escape;

#[derive(Clone, Debug, PartialEq)]
enum Pixels {
    Ink(Vec<u8>),
    Grey(Vec<u8>),
    Signed(Vec<f32>),
}

/// A small picture and the words under it, which may take several lines.
#[derive(Clone, Debug, PartialEq)]
pub struct Picture {
    width: usize,
    height: usize,
    pixels: Pixels,
    caption: String,
}

impl Picture {
    /// A drawing: 0 is blank paper and 255 full ink, dark on a light page and light on a dark one. The right
    /// kind for MNIST and Fashion-MNIST, as their bytes stand.
    pub fn ink(width: usize, height: usize, bytes: impl Into<Vec<u8>>, caption: impl Into<String>) -> Self {
        Self { width, height, pixels: Pixels::Ink(bytes.into()), caption: caption.into() }
    }

    /// A photograph: 0 is black and 255 white on any page.
    pub fn grey(width: usize, height: usize, bytes: impl Into<Vec<u8>>, caption: impl Into<String>) -> Self {
        Self { width, height, pixels: Pixels::Grey(bytes.into()), caption: caption.into() }
    }

    /// Signed values, one hue for each sign and zero blank; all such pictures of a grid share one scale.
    pub fn signed(width: usize, height: usize, values: &[f32], caption: impl Into<String>) -> Self {
        Self { width, height, pixels: Pixels::Signed(values.to_vec()), caption: caption.into() }
    }

    fn largest(&self) -> f32 {
        match &self.pixels {
            Pixels::Signed(values) => values.iter().fold(0.0, |largest, v| v.abs().max(largest)),
            _ => 0.0,
        }
    }

    fn image(&self, limit: f32) -> String {
        let (class, uri) = match &self.pixels {
            Pixels::Ink(bytes) => {
                let paper: Vec<u8> = bytes.iter().map(|b| 255 - b).collect();
                ("ink", data_uri(self.width, self.height, Colour::Grey, &paper))
            }
            Pixels::Grey(bytes) => ("grey", data_uri(self.width, self.height, Colour::Grey, bytes)),
            Pixels::Signed(values) => {
                let rgba: Vec<u8> = values.iter().flat_map(|v| signed_colour(v / limit)).collect();
                ("signed", data_uri(self.width, self.height, Colour::Rgba, &rgba))
            }
        };
        let (width, height, alt) = (self.width, self.height, escape(&self.caption));
        format!("<img class=\"{class}\" src=\"{uri}\" width=\"{width}\" height=\"{height}\" alt=\"{alt}\">")
    }
}

/// Blue above zero and orange below, as opaque as the value is large; mid-tones that show on any page.
fn signed_colour(share: f32) -> [u8; 4] {
    let [r, g, b] = if share < 0.0 { [0xd9, 0x6a, 0x1d] } else { [0x2b, 0x7b, 0xc4] };
    [r, g, b, (share.abs().clamp(0.0, 1.0) * 255.0).round() as u8]
}

/// Pictures side by side, each with its caption.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageGrid {
    /// The pictures, in reading order.
    pub pictures: Vec<Picture>,
    /// Most pictures in a row; a narrow page takes fewer.
    pub columns: usize,
}

impl ImageGrid {
    /// A grid of pictures, in rows of four to eight, equally long where the number allows.
    pub fn new(pictures: impl IntoIterator<Item = Picture>) -> Self {
        let pictures: Vec<Picture> = pictures.into_iter().collect();
        let even = (4..=8).find(|columns| pictures.len().is_multiple_of(*columns));
        Self { columns: even.unwrap_or(6), pictures }
    }

    /// Sets the most pictures in a row.
    pub fn columns(self, columns: usize) -> Self {
        Self { columns, ..self }
    }

    /// What keeps this grid from being drawn as asked, if anything does.
    pub(super) fn defect(&self) -> Option<String> {
        if self.pictures.is_empty() {
            return Some("the grid has no pictures".to_owned());
        }
        self.pictures.iter().enumerate().find_map(|(i, picture)| {
            let (width, height) = (picture.width, picture.height);
            let (pixels, finite) = match &picture.pixels {
                Pixels::Ink(bytes) | Pixels::Grey(bytes) => (bytes.len(), true),
                Pixels::Signed(values) => (values.len(), values.iter().all(|v| v.is_finite())),
            };
            if pixels == 0 || width.checked_mul(height) != Some(pixels) {
                return Some(format!("picture {i} has {pixels} pixels for {width} × {height}"));
            }
            (!finite).then(|| format!("picture {i} holds a value that is not finite"))
        })
    }

    /// The grid, and what its hues mean.
    pub(super) fn draw(&self, alt: &str) -> String {
        let limit = self.pictures.iter().map(Picture::largest).fold(0.0, f32::max);
        let divisor = if limit > 0.0 { limit } else { 1.0 };
        let cell = |picture: &Picture| {
            let caption = picture.caption.lines().map(escape).collect::<Vec<String>>().join("<br>");
            format!("<li>{}<span aria-hidden=\"true\">{caption}</span></li>", picture.image(divisor))
        };
        let cells: String = self.pictures.iter().map(cell).collect();
        let key = if limit > 0.0 {
            let end = compact(f64::from(limit));
            format!(
                "<p class=\"signkey\"><span>−{end}</span><i></i><span>0</span><i></i><span>+{end}</span></p>"
            )
        } else {
            String::new()
        };
        let (columns, alt) = (self.columns.max(1), escape(alt));
        format!(
            "<ul class=\"images\" style=\"--columns:{columns}\" role=\"group\" aria-label=\"{alt}\">{cells}</ul>{key}"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_sizes_and_nan_are_defects() {
        let defect = |picture| ImageGrid::new([picture]).defect();
        assert!(defect(Picture::ink(2, 2, [0; 4], "")).is_none());
        assert!(defect(Picture::ink(2, 2, [0; 3], "")).is_some());
        assert!(defect(Picture::grey(0, 0, [], "")).is_some());
        assert!(defect(Picture::signed(1, 1, &[f32::NAN], "")).is_some());
        assert!(ImageGrid::new([]).defect().is_some());
    }

    #[test]
    fn signed_pictures_share_one_scale() {
        let grid = ImageGrid::new([Picture::signed(1, 1, &[-0.5], "a"), Picture::signed(1, 1, &[0.0], "b")]);
        assert!(
            grid.draw("").contains("−0.5") && signed_colour(-1.0)[3] == 255 && signed_colour(0.0)[3] == 0
        );
    }
}
