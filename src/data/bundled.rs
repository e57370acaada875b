//! Where the data sets lie that come with gradus, and the small ones.

use super::{ImageSet, idx};
use crate::error::{Error, Result};
use flate2::read::MultiGzDecoder;
use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The environment variable that names the folder of data sets.
const VARIABLE: &str = "GRADUS_DATA";

/// The gzipped file where there is one, else the plain one.
pub(super) fn file(folder: &Path, name: &str) -> PathBuf {
    let packed = folder.join(format!("{name}.gz"));
    let plain = folder.join(name);
    if plain.exists() && !packed.exists() { plain } else { packed }
}

/// The folder called `name` that holds the file `probe`: inside the folder that `GRADUS_DATA` names, and then
/// no other is tried; in `data` in the current folder; in `data` in the sources of this crate.
pub(super) fn folder(op: &'static str, name: &str, probe: &str) -> Result<PathBuf> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("data");
    find(op, (name, probe), std::env::var_os(VARIABLE), &[PathBuf::from("data"), sources])
}

/// The folder of a data set: below `named` where that is given, else below the first of `others` that has it.
fn find(
    op: &'static str,
    (name, probe): (&str, &str),
    named: Option<OsString>,
    others: &[PathBuf],
) -> Result<PathBuf> {
    // An empty variable is an unset one, as shells have it.
    let named = named.filter(|value| !value.is_empty()).map(PathBuf::from);
    let is_named = named.is_some();
    let tried: Vec<PathBuf> = match named {
        Some(folder) => vec![folder.join(name)],
        None => others.iter().map(|folder| folder.join(name)).collect(),
    };
    if let Some(found) = tried.iter().find(|folder| file(folder, probe).is_file()) {
        return Ok(found.clone());
    }
    let names: Vec<String> = tried.iter().map(|folder| folder.display().to_string()).collect();
    let missing = format!("no {probe}(.gz) in {}", names.join(" or "));
    let source = std::io::Error::new(std::io::ErrorKind::NotFound, missing);
    let remedy = if is_named {
        format!("{VARIABLE} names a folder of data sets; it must contain the folder {name}")
    } else {
        format!("Set {VARIABLE} to the folder that contains {name}, or read your own copy from a folder")
    };
    let first = tried.into_iter().next().unwrap_or_default();
    Err(Error::io(op, first, source, remedy))
}

/// 1797 handwritten digits, 8 × 8 grey pixels, in ten classes (Alpaydin and Kaynak 1998, UCI repository,
/// doi:10.24432/C50P49), in the order of their file: the first ones and the last ones were written by
/// different people.
///
/// Found as [`FashionMnist::bundled`](super::FashionMnist::bundled) is. The file's values 0 … 16 become 0 … 255.
///
/// Errors: [`Error::Io`] where no folder has it; [`Error::Format`] for a damaged file.
pub fn digits() -> Result<ImageSet> {
    const OP: &str = "data::digits";
    let folder = folder(OP, "digits", "images-idx3-ubyte")?;
    let part = |name| file(&folder, name);
    let mut set = ImageSet::from_idx(part("images-idx3-ubyte"), part("labels-idx1-ubyte"), 10)?;
    for pixel in &mut set.images {
        *pixel = (u16::from(*pixel).min(16) * 255 / 16) as u8;
    }
    Ok(set)
}

/// A million characters of Shakespeare's plays in ASCII, lines ended by `\n`: 76 different ones.
///
/// Found as [`FashionMnist::bundled`](super::FashionMnist::bundled) is.
///
/// Errors: [`Error::Io`] where no folder has it or it cannot be unpacked.
pub fn shakespeare() -> Result<String> {
    const OP: &str = "data::shakespeare";
    text(OP, &folder(OP, "shakespeare", "plays.txt")?, "plays.txt")
}

/// A quantity that was measured again and again.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// When, in years.
    pub times: Vec<f64>,
    /// What, one for each time.
    pub values: Vec<f64>,
}

/// The yearly sunspot number, 1700 to 2008 (National Geophysical Data Center, as statsmodels carries it).
///
/// Found as [`FashionMnist::bundled`](super::FashionMnist::bundled) is.
///
/// Errors: [`Error::Io`] where no folder has it; [`Error::Format`] for a damaged file.
pub fn sunspots() -> Result<Series> {
    series("data::sunspots", "sunspots.csv", |year| year.parse().ok())
}

/// Carbon dioxide in the air over Mauna Loa in parts per million, weekly, 1958 to 2001; weeks without a value
/// are left out (Keeling and Whorf 2004).
///
/// Found as [`FashionMnist::bundled`](super::FashionMnist::bundled) is. Times are to a day, in years of 365.2425 days.
///
/// Errors: [`Error::Io`] where no folder has it; [`Error::Format`] for a damaged file.
pub fn co2() -> Result<Series> {
    series("data::co2", "co2.csv", |day| {
        let number: u32 = day.parse().ok()?;
        let (year, month, day) = (number / 10_000, number / 100 % 100, number % 100);
        ((1..=12).contains(&month) && (1..=31).contains(&day)).then(|| years(year, month, day))
    })
}

/// A date as a number of years: days since the year 0 by the calendar of Gregory, in years of 365.2425 days.
fn years(year: u32, month: u32, day: u32) -> f64 {
    // January and February belong to the year before, so that the leap day comes last.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = 365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day;
    f64::from(days + 59) / 365.2425
}

fn series(op: &'static str, name: &'static str, time: impl Fn(&str) -> Option<f64>) -> Result<Series> {
    let text = text(op, &folder(op, "series", name)?, name)?;
    let mut series = Series::default();
    for (number, line) in text.lines().enumerate().skip(1) {
        let row = line.split_once(',').and_then(|(t, value)| Some((time(t)?, value.parse().ok()?)));
        let Some((at, value)) = row else {
            let given = format!("{name}, line {}: '{line}'", number + 1);
            return Err(Error::format(op, given, "A line holds a time, a comma and a number"));
        };
        series.times.push(at);
        series.values.push(value);
    }
    Ok(series)
}

/// The text in a file, unpacked where it is packed.
fn text(op: &'static str, folder: &Path, name: &str) -> Result<String> {
    let path = file(folder, name);
    let read = || {
        let bytes = std::fs::read(&path)?;
        let mut text = String::new();
        if bytes.starts_with(&idx::GZIP_MAGIC) {
            MultiGzDecoder::new(&bytes[..]).read_to_string(&mut text)?;
        } else {
            text = String::from_utf8(bytes).map_err(std::io::Error::other)?;
        }
        Ok(text)
    };
    read().map_err(|source| Error::io(op, path.clone(), source, "Get the file that belongs here again"))
}

#[cfg(test)]
mod tests {
    use super::super::idx::tests::Scratch;
    use super::*;

    #[test]
    fn the_first_folder_that_has_the_set_wins_and_a_named_one_is_the_only_one() {
        let scratch = Scratch::new("find");
        let (empty, second) = (scratch.0.join("empty"), scratch.0.join("second"));
        scratch.write("second/set/probe.gz", b"");
        let others = [empty.clone(), second.clone()];
        let found = second.join("set");
        assert_eq!(find("test", ("set", "probe"), None, &others).unwrap(), found);
        assert_eq!(find("test", ("set", "probe"), Some(OsString::new()), &others).unwrap(), found);
        assert_eq!(find("test", ("set", "probe"), Some(second.clone().into()), &[]).unwrap(), found);

        let error = find("test", ("set", "probe"), Some(empty.clone().into()), &others).unwrap_err();
        assert!(matches!(error, Error::Io { .. }) && !error.to_string().contains("second"), "{error}");
        let error =
            find("test", ("set", "probe"), None, &[empty, scratch.0.join("third")]).unwrap_err().to_string();
        assert!(error.contains("empty") && error.contains("third") && error.contains(VARIABLE), "{error}");
    }

    #[test]
    fn the_small_sets_are_what_they_say() {
        let digits = digits().unwrap();
        assert_eq!((digits.len(), digits.height, digits.width), (1797, 8, 8));
        assert_eq!((digits.images.iter().max(), digits.labels[..4].to_vec()), (Some(&255), vec![0, 1, 2, 3]));
        let plays = shakespeare().unwrap();
        let symbols: std::collections::BTreeSet<char> = plays.chars().collect();
        assert_eq!((plays.len(), symbols.len()), (1_000_000, 76));
        let spots = sunspots().unwrap();
        assert_eq!((spots.times[0], spots.values[0], spots.times[308]), (1700.0, 5.0, 2008.0));
        let co2 = co2().unwrap();
        assert_eq!((co2.values.len(), co2.values[0]), (2225, 316.1));
        assert!(co2.times.windows(2).all(|w| w[1] - w[0] > 6.9 / 365.25));
        assert!((co2.times[0] - 1958.24).abs() < 0.01, "{}", co2.times[0]);
    }
}
