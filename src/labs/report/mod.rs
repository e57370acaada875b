//! The illustrated report: each theorem beside its measurement, in one HTML file without network or scripts.
//!
//! A lab fills a [`Chapter`] and hands it to a [`Report`]; [`Report::write`] puts `report.html` and
//! `claims.json` into a folder. Text goes in as plain strings and comes out escaped. Where a field is called
//! *prose*, `$…$` sets a formula (see [`Math`]), `*…*` emphasis and `` `…` `` code.
//!
//! The page follows the reader's colour scheme: drawings carry classes instead of colours, and the style sheet
//! gives them theirs. Series differ by marker or dash as well as by hue, and a verdict is a word, not a colour.
//!
//! ```
//! use gradus::labs::claim::{Claim, Tolerance};
//! use gradus::labs::report::{Axis, Chapter, Cost, Figure, Plot, Report, Series, Theorem};
//!
//! # let out = std::env::temp_dir().join("gradus-report-example");
//! let accuracy = Series::line("CNN", [(0.0, 0.846), (2.0, 0.771)]).dots();
//! let plot = Plot::new(Axis::new("shift").unit("px"), Axis::new("test accuracy").percent()).series(accuracy);
//! let mut chapter = Chapter::new("convolution", "Convolutional networks");
//! chapter
//!     .idea("A convolution is *equivariant*: it commutes with $T_v$, a shift by $v$.")
//!     .theorem(Theorem::new("Effective receptive field", "For equal weights the variance per axis is")
//!         .formula(r"\sigma^2 = \frac{L(k^2 - 1)}{12}")
//!         .source("Luo et al. 2016, §2.2"))
//!     .claim(Claim::check("C8.6", "…", "…", 20.0, 20.0001, Tolerance::Relative(1e-4)))
//!     .figure(Figure::new("Accuracy under a shift", plot).caption("…").alt("…"))
//!     .method("5000 training images, 2000 test images, Adam at $3·10^{-3}$.")
//!     .cost(Cost { seconds: 12.4, flop: 62e9, dispatches: 14_210, device: "llvmpipe".into() });
//! let report = Report::new("Gradus ad Parnassum", "llvmpipe (LLVM 19.1)", 7).chapter(chapter);
//! report.write(&out)?;
//! # std::fs::remove_dir_all(out)?;
//! # Ok::<(), std::io::Error>(())
//! ```

mod axis;
mod chart;
mod heat;
mod html;
mod image;
mod math;
mod plot;
mod png;
mod text;
mod words;

use std::fs;
use std::io;
use std::path::Path;

use super::Language;
use super::claim::Claim;
pub use axis::{Axis, Scale};
pub use heat::{HeatMap, Shade};
pub use image::{ImageGrid, Picture};
pub use math::Math;
pub use plot::{Mark, Plot, Rule, Series, smoothed};
pub use text::{duration, escape, prose, si};

/// Everything that one run of `gradus lab` found out.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Title of the page.
    pub title: String,
    /// One paragraph under the title; prose.
    pub lede: String,
    /// The language of the page's own words.
    pub language: Language,
    /// The device that ran the labs, with its driver.
    pub device: String,
    /// The seed of every random number.
    pub seed: u64,
    /// Further facts for the header, each with its name: version, mode, date.
    pub facts: Vec<(String, String)>,
    /// The chapters, in reading order.
    pub chapters: Vec<Chapter>,
}

impl Report {
    /// A report without chapters.
    pub fn new(title: impl Into<String>, device: impl Into<String>, seed: u64) -> Self {
        let (facts, chapters) = (Vec::new(), Vec::new());
        let (title, lede, device) = (title.into(), String::new(), device.into());
        Self { title, lede, language: Language::default(), device, seed, facts, chapters }
    }

    /// Sets the language of the page's own words; those of the chapters are whatever they were written in.
    pub fn language(self, language: Language) -> Self {
        Self { language, ..self }
    }

    /// Sets the paragraph under the title; prose.
    pub fn lede(self, lede: impl Into<String>) -> Self {
        Self { lede: lede.into(), ..self }
    }

    /// Adds a fact to the header.
    pub fn fact(mut self, name: impl Into<String>, fact: impl Into<String>) -> Self {
        self.facts.push((name.into(), fact.into()));
        self
    }

    /// Adds a chapter.
    pub fn chapter(mut self, chapter: Chapter) -> Self {
        self.chapters.push(chapter);
        self
    }

    /// Every claim of every chapter, in reading order.
    pub fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.chapters.iter().flat_map(|chapter| &chapter.claims)
    }

    /// Whether there are claims and all of them hold.
    pub fn holds(&self) -> bool {
        self.claims().next().is_some() && self.claims().all(Claim::holds)
    }

    /// The page.
    pub fn html(&self) -> String {
        html::page(self)
    }

    /// The claims as a JSON array.
    pub fn claims_json(&self) -> io::Result<String> {
        let claims: Vec<&Claim> = self.claims().collect();
        Ok(serde_json::to_string_pretty(&claims)? + "\n")
    }

    /// Writes `report.html` and `claims.json` into `dir`, which is made if it is missing.
    ///
    /// A figure that cannot be drawn says so on the page. It is an error too (`InvalidData`), but only after
    /// both files are written: a long run should not lose its report to one wrong picture.
    pub fn write(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)?;
        fs::write(dir.join("claims.json"), self.claims_json()?)?;
        fs::write(dir.join("report.html"), self.html())?;
        for chapter in &self.chapters {
            for figure in &chapter.figures {
                if let Some(defect) = figure.panel.defect() {
                    let (chapter, title) = (&chapter.name, &figure.title);
                    let message = format!("report: figure “{title}” of chapter {chapter}: {defect}");
                    return Err(io::Error::new(io::ErrorKind::InvalidData, message));
                }
            }
        }
        Ok(())
    }
}

/// One lab: an idea, its theorems, what was claimed and measured, and what it cost.
#[derive(Clone, Debug, PartialEq)]
pub struct Chapter {
    /// Short name, as on the command line.
    pub name: String,
    /// Title.
    pub title: String,
    /// The idea, a paragraph each; prose.
    pub idea: Vec<String>,
    /// What is proven.
    pub theorems: Vec<Theorem>,
    /// What was predicted and measured.
    pub claims: Vec<Claim>,
    /// What a person would rather see than read.
    pub figures: Vec<Figure>,
    /// How it was measured, a paragraph each; prose.
    pub method: Vec<String>,
    /// What it took.
    pub cost: Option<Cost>,
}

impl Chapter {
    /// An empty chapter.
    pub fn new(name: impl Into<String>, title: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            title: title.into(),
            idea: Vec::new(),
            theorems: Vec::new(),
            claims: Vec::new(),
            figures: Vec::new(),
            method: Vec::new(),
            cost: None,
        }
    }

    /// Adds a paragraph on the idea; prose.
    pub fn idea(&mut self, paragraph: impl Into<String>) -> &mut Self {
        self.idea.push(paragraph.into());
        self
    }

    /// Adds a theorem.
    pub fn theorem(&mut self, theorem: Theorem) -> &mut Self {
        self.theorems.push(theorem);
        self
    }

    /// Adds a claim, and writes the name of the chapter into it.
    pub fn claim(&mut self, mut claim: Claim) -> &mut Self {
        claim.chapter.clone_from(&self.name);
        self.claims.push(claim);
        self
    }

    /// Adds a figure.
    pub fn figure(&mut self, figure: Figure) -> &mut Self {
        self.figures.push(figure);
        self
    }

    /// Adds a paragraph on how it was measured; prose.
    pub fn method(&mut self, paragraph: impl Into<String>) -> &mut Self {
        self.method.push(paragraph.into());
        self
    }

    /// Sets what the chapter took.
    pub fn cost(&mut self, cost: Cost) -> &mut Self {
        self.cost = Some(cost);
        self
    }
}

/// A theorem as the chapter states it.
#[derive(Clone, Debug, PartialEq)]
pub struct Theorem {
    /// Its name.
    pub name: String,
    /// Its statement; prose.
    pub statement: String,
    /// Formulas on lines of their own.
    pub formulas: Vec<Math>,
    /// Where it comes from.
    pub source: String,
}

impl Theorem {
    /// A theorem in words; the statement is prose.
    pub fn new(name: impl Into<String>, statement: impl Into<String>) -> Self {
        Self { name: name.into(), statement: statement.into(), formulas: Vec::new(), source: String::new() }
    }

    /// Adds a formula on a line of its own, in the notation of [`Math`].
    pub fn formula(mut self, tex: &str) -> Self {
        self.formulas.push(Math::display(tex));
        self
    }

    /// Names the source.
    pub fn source(self, source: impl Into<String>) -> Self {
        Self { source: source.into(), ..self }
    }
}

/// What a chapter took.
#[derive(Clone, Debug, PartialEq)]
pub struct Cost {
    /// Wall time in seconds.
    pub seconds: f64,
    /// Floating-point operations, counted from the shapes.
    pub flop: f64,
    /// Dispatches of a compute shader.
    pub dispatches: u64,
    /// The device.
    pub device: String,
}

/// A panel with its title and its words.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Title, above.
    pub title: String,
    /// What to see in it, below; prose.
    pub caption: String,
    /// What it shows, for those who do not see it.
    pub alt: String,
    /// The drawing.
    pub panel: Panel,
    /// Whether it takes the whole width of the page.
    pub wide: bool,
}

impl Figure {
    /// A figure of half the page's width where there is room.
    pub fn new(title: impl Into<String>, panel: impl Into<Panel>) -> Self {
        let (caption, alt) = (String::new(), String::new());
        Self { title: title.into(), caption, alt, panel: panel.into(), wide: false }
    }

    /// Says what to see in it; prose.
    pub fn caption(self, caption: impl Into<String>) -> Self {
        Self { caption: caption.into(), ..self }
    }

    /// Describes it for those who do not see it; the title stands in without.
    pub fn alt(self, alt: impl Into<String>) -> Self {
        Self { alt: alt.into(), ..self }
    }

    /// Gives it the whole width of the page; for tables and picture grids.
    pub fn wide(self) -> Self {
        Self { wide: true, ..self }
    }
}

/// What a figure shows.
#[derive(Clone, Debug, PartialEq)]
pub enum Panel {
    /// Series between two axes.
    Plot(Plot),
    /// A matrix of shades.
    Heat(HeatMap),
    /// Small pictures.
    Images(ImageGrid),
    /// Words and numbers.
    Table(Table),
}

impl Panel {
    /// What keeps the panel from being drawn as asked, if anything does.
    pub fn defect(&self) -> Option<String> {
        match self {
            Self::Plot(plot) => plot.defect(),
            Self::Heat(map) => map.defect(),
            Self::Images(grid) => grid.defect(),
            Self::Table(table) => table.defect(),
        }
    }
}

macro_rules! panel_from {
    ($($kind:ident from $inner:ty),*) => {$(
        impl From<$inner> for Panel {
            fn from(inner: $inner) -> Self {
                Self::$kind(inner)
            }
        }
    )*};
}
panel_from!(Plot from Plot, Heat from HeatMap, Images from ImageGrid, Table from Table);

/// Rows under a head; columns whose cells all read as numbers stand to the right. Cells are prose.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// The rows, each as long as the head.
    pub rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows.
    pub fn new<S: Into<String>>(head: impl IntoIterator<Item = S>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row.
    pub fn row<S: Into<String>>(mut self, cells: impl IntoIterator<Item = S>) -> Self {
        self.rows.push(cells.into_iter().map(Into::into).collect());
        self
    }

    fn defect(&self) -> Option<String> {
        let columns = self.head.len();
        let odd = self.rows.iter().enumerate().find(|(_, row)| row.len() != columns);
        odd.map(|(i, row)| format!("row {i} of the table has {} cells for {columns} columns", row.len()))
    }
}

#[cfg(test)]
mod tests;
