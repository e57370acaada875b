//! Named tensors in a safetensors file.

use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::{Host, Tensor};
use half::f16;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The one entry of the file's metadata. One, because several would be written in random order, and equal
/// runs write equal files.
const KEY: &str = "gradus";

/// The contents of a file: text of ours, and tensors as bytes.
pub(super) struct Archive {
    op: &'static str,
    path: PathBuf,
    /// What was written about the tensors, if gradus wrote the file.
    pub about: Option<String>,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

/// Writes tensors and a text about them. The file is there whole or not at all: it is written under
/// another name beside its place, and moved there.
pub(super) fn write(
    op: &'static str,
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    about: String,
) -> Result<()> {
    let entries: Result<Vec<(&String, Entry)>> =
        tensors.iter().map(|(name, tensor)| Ok((name, Entry::of(op, name, tensor)?))).collect();
    let entries = entries?;
    let views: std::result::Result<Vec<_>, _> = entries
        .iter()
        .map(|(name, e)| Ok((name.as_str(), TensorView::new(e.dtype, e.shape.clone(), &e.bytes)?)))
        .collect();
    let metadata = HashMap::from([(KEY.to_string(), about)]);
    let bytes = views
        .and_then(|views| safetensors::serialize(views, Some(metadata)))
        .map_err(|e| Error::format(op, format!("{}: {e}", path.display()), "Report this as a defect."))?;

    let failed =
        |source| Error::io(op, path, source, "Check the folder, its permissions and the free space.");
    let temporary = beside(path);
    let written = write_through(&temporary, &bytes).and_then(|()| fs::rename(&temporary, path));
    written.map_err(|error| {
        // What is left of the attempt is of no use; that it cannot be removed is not the news.
        let _ = fs::remove_file(&temporary);
        failed(error)
    })
}

/// Writes a file and waits until the disk has it: a rename may otherwise overtake the contents.
fn write_through(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// A name in the same folder that nobody else uses.
fn beside(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().map_or_else(Default::default, |n| n.to_string_lossy().into_owned());
    path.with_file_name(format!(".{name}.{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Relaxed)))
}

impl Entry {
    fn of(op: &'static str, name: &str, tensor: &Tensor) -> Result<Entry> {
        fn bytes<T: Host>(tensor: &Tensor) -> Result<Vec<u8>> {
            Ok(bytemuck::cast_slice(&tensor.to_vec::<T>()?).to_vec())
        }
        let (dtype, bytes) = match tensor.dtype() {
            DType::F16 => (Dtype::F16, bytes::<f16>(tensor)?),
            DType::F32 => (Dtype::F32, bytes::<f32>(tensor)?),
            DType::F64 => (Dtype::F64, bytes::<f64>(tensor)?),
            DType::I32 => (Dtype::I32, bytes::<i32>(tensor)?),
            other => {
                let given = format!("`{name}` is {other}");
                return Err(Error::dtype(
                    op,
                    given,
                    "Files hold f16, f32, f64 and i32: convert with to_dtype.",
                ));
            }
        };
        Ok(Entry { dtype, shape: tensor.shape().to_vec(), bytes })
    }
}

/// Reads a file whole.
pub(super) fn read(op: &'static str, path: &Path) -> Result<Archive> {
    let data = fs::read(path).map_err(|e| Error::io(op, path, e, "Check the path and its permissions."))?;
    let malformed = |e: safetensors::SafeTensorError| {
        Error::format(
            op,
            format!("{} is not a whole safetensors file: {e}", path.display()),
            "It was cut off, changed, or is of another kind: use an earlier checkpoint.",
        )
    };
    let (_, metadata) = SafeTensors::read_metadata(&data).map_err(malformed)?;
    let about = metadata.metadata().as_ref().and_then(|map| map.get(KEY)).cloned();
    let entries = SafeTensors::deserialize(&data)
        .map_err(malformed)?
        .iter()
        .map(|(name, view)| {
            let entry =
                Entry { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() };
            (name.to_string(), entry)
        })
        .collect();
    Ok(Archive { op, path: path.into(), about, entries })
}

impl Archive {
    /// The error for contents that are not what they should be.
    pub fn wrong(&self, given: impl std::fmt::Display, remedy: &str) -> Error {
        Error::format(self.op, format!("{}: {given}", self.path.display()), remedy)
    }

    /// The names of the tensors.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// A tensor of the file, on a device.
    ///
    /// Errors: [`Error::Format`] if there is none of this name, or of a type gradus does not have.
    pub fn tensor(&self, name: &str, device: &Device) -> Result<Tensor> {
        let Some(entry) = self.entries.get(name) else {
            return Err(self.wrong(
                format!("no tensor `{name}`"),
                "The file belongs to another model, or to another version of this one.",
            ));
        };
        let shape = Shape::new(&entry.shape)?;
        fn values<T: Host>(bytes: &[u8]) -> Vec<T> {
            bytemuck::pod_collect_to_vec(bytes)
        }
        match entry.dtype {
            Dtype::F16 => Tensor::from_vec(device, values::<f16>(&entry.bytes), shape),
            Dtype::F32 => Tensor::from_vec(device, values::<f32>(&entry.bytes), shape),
            Dtype::F64 => Tensor::from_vec(device, values::<f64>(&entry.bytes), shape),
            Dtype::I32 => Tensor::from_vec(device, values::<i32>(&entry.bytes), shape),
            other => Err(self.wrong(format!("`{name}` is {other:?}"), "Convert it to F32 before.")),
        }
    }

    /// Shape and type of a tensor, as text and for comparison with one in memory.
    pub fn matches(&self, name: &str, tensor: &Tensor) -> Result<()> {
        let Some(entry) = self.entries.get(name) else { return Ok(()) };
        let dtype = match entry.dtype {
            Dtype::F16 => Some(DType::F16),
            Dtype::F32 => Some(DType::F32),
            Dtype::F64 => Some(DType::F64),
            Dtype::I32 => Some(DType::I32),
            _ => None,
        };
        if entry.shape == **tensor.shape() && dtype == Some(tensor.dtype()) {
            return Ok(());
        }
        Err(self.wrong(
            format!("`{name}` is {:?} {:?}, the model's is {}", entry.shape, entry.dtype, tensor.describe()),
            "The file belongs to another model, or to another version of this one.",
        ))
    }
}
