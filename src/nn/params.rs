//! Named parameters, and the cells they live in.

use super::dropout::Randomness;
use super::init::Init;
use super::parameter::Parameter;
use crate::device::Device;
use crate::dtype::DType;
use crate::error::{Error, Result};
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::from_f64;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// The first part of a path that checkpoints keep for the state of the optimiser.
pub(crate) const RESERVED: &str = "optim";

/// The parameters of a model, in the order of their definition.
///
/// Cloning and [`at`](Self::at) share them: a handle sees what lies under its path, so that
/// `Adam::new(&params.at("head"), 1e-3)` trains the head alone and `params.at("encoder").load(file)` fills
/// the encoder alone.
#[derive(Clone)]
pub struct Params {
    store: Arc<Store>,
    path: String,
}

struct Store {
    device: Device,
    dtype: DType,
    seed: u64,
    cells: RwLock<Vec<Parameter>>,
    /// Paths that name sources of random numbers.
    sources: RwLock<BTreeSet<String>>,
}

impl Params {
    /// No parameters yet, f32. The seed and a parameter's path decide what it starts as: the same bits on
    /// every device, in whatever order layers are built.
    pub fn new(device: &Device, seed: u64) -> Self {
        Params::of(device.clone(), DType::F32, seed)
    }

    /// No parameters yet, of type f64, on the CPU device: for reference runs. They start as those of f32
    /// do, before rounding.
    pub fn new_f64(seed: u64) -> Self {
        Params::of(Device::cpu(), DType::F64, seed)
    }

    /// No parameters yet, of type [`DType::Bounded`], on the CPU device: to learn how far a run in f32 may stray.
    /// They start as those of f32 do.
    pub fn new_bounded(seed: u64) -> Self {
        Params::of(Device::cpu(), DType::Bounded, seed)
    }

    fn of(device: Device, dtype: DType, seed: u64) -> Self {
        let (cells, sources) = (RwLock::default(), RwLock::default());
        Params { store: Arc::new(Store { device, dtype, seed, cells, sources }), path: String::new() }
    }

    /// The handle of a part: what is defined through it lies under `name`, after a dot.
    pub fn at(&self, name: impl fmt::Display) -> Params {
        Params { store: self.store.clone(), path: self.join(&name.to_string()) }
    }

    fn join(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    /// Defines a trained parameter.
    ///
    /// Errors: [`Error::Argument`] for a path that is taken or is none (letters, digits, `_` and `-`, in
    /// parts separated by dots, the first not `optim`); whatever `init` says of the shape.
    pub fn parameter(&self, name: &str, shape: impl AsRef<[usize]>, init: Init) -> Result<Parameter> {
        self.define(name, shape.as_ref(), init, true)
    }

    /// Defines a buffer: saved with the model and not trained, like the running mean of a batch norm.
    ///
    /// Errors: those of [`parameter`](Self::parameter).
    pub fn buffer(&self, name: &str, shape: impl AsRef<[usize]>, init: Init) -> Result<Parameter> {
        self.define(name, shape.as_ref(), init, false)
    }

    /// Defines a trained parameter of equal parts along its first axis, each sampled as a parameter of its own.
    pub(super) fn parts(&self, name: &str, parts: usize, shape: [usize; 2], init: Init) -> Result<Parameter> {
        let part = Shape::new(&shape)?;
        let sample = |n: usize| init.sample(&part, self.store.seed, &format!("{}.part{n}", self.join(name)));
        let data = (0..parts).map(sample).collect::<Result<Vec<_>>>()?.concat();
        self.define_as(name, &[parts * shape[0], shape[1]], data, true)
    }

    fn define(&self, name: &str, shape: &[usize], init: Init, trainable: bool) -> Result<Parameter> {
        let data = init.sample(&Shape::new(shape)?, self.store.seed, &self.join(name))?;
        self.define_as(name, shape, data, trainable)
    }

    /// Defines what starts as these numbers.
    fn define_as(
        &self,
        name: &str,
        shape: &[usize],
        mut data: Vec<f64>,
        trainable: bool,
    ) -> Result<Parameter> {
        let (path, shape) = (self.join(name), Shape::new(shape)?);
        check_path(&path)?;
        if self.store.dtype == DType::Bounded {
            data.iter_mut().for_each(|value| *value = f64::from(*value as f32));
        }
        let value = from_f64(&self.store.device, self.store.dtype, &data, shape)?;
        let value = if trainable { value.variable()? } else { value };
        let parameter = Parameter::new(path, trainable, value);
        let mut cells = self.store.cells.write().unwrap_or_else(PoisonError::into_inner);
        if cells.iter().any(|known| known.path() == parameter.path()) {
            return Err(twice(parameter.path()));
        }
        cells.push(parameter.clone());
        Ok(parameter)
    }

    /// Where a layer's random numbers come from: masks of dropout, for instance. A function of the seed and
    /// the path alone.
    ///
    /// Errors: [`Error::Argument`] for a path that is none, or that names a source already: two layers would
    /// draw the same numbers.
    pub fn randomness(&self, name: &str) -> Result<Randomness> {
        let path = self.join(name);
        check_path(&path)?;
        let mut sources = self.store.sources.write().unwrap_or_else(PoisonError::into_inner);
        if !sources.insert(path.clone()) {
            return Err(twice(&path));
        }
        Ok(Randomness::new(self.store.seed, &path))
    }

    /// All parameters and buffers under this handle's path, in the order of definition.
    pub fn all(&self) -> Vec<Parameter> {
        let cells = self.store.cells.read().unwrap_or_else(PoisonError::into_inner);
        cells.iter().filter(|p| self.covers(p.path())).cloned().collect()
    }

    /// Whether a path lies under this handle's.
    pub(crate) fn covers(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.path.as_str());
        self.path.is_empty() || rest.is_some_and(|rest| rest.starts_with('.'))
    }

    /// A path that lies under this handle's, as seen from there.
    pub(crate) fn relative<'a>(&self, path: &'a str) -> &'a str {
        let rest = path.strip_prefix(self.path.as_str()).unwrap_or(path);
        rest.strip_prefix('.').unwrap_or(rest)
    }

    /// The parameters that are trained.
    pub fn trainable(&self) -> Vec<Parameter> {
        self.all().into_iter().filter(Parameter::is_trainable).collect()
    }

    /// Those that are not.
    pub fn buffers(&self) -> Vec<Parameter> {
        self.all().into_iter().filter(|p| !p.is_trainable()).collect()
    }

    /// The parameter or buffer `name` under this handle's path.
    ///
    /// Errors: [`Error::Argument`] if there is none.
    pub fn get(&self, name: &str) -> Result<Parameter> {
        let path = self.join(name);
        self.all().into_iter().find(|p| p.path() == path).ok_or_else(|| {
            Error::argument("params", format!("no `{path}`"), "Print the Params to see what there is.")
        })
    }

    /// How many numbers are trained.
    pub fn count(&self) -> usize {
        self.trainable().iter().map(Parameter::count).sum()
    }

    /// Runs `body` while the trained parameters, in order, read as `values`, which keep their place in the
    /// graph: the model as a function of its parameters, for `jvp`, `hvp` and Jacobians. What the
    /// parameters were before comes back afterwards, whatever happens.
    ///
    /// ```
    /// use gradus::{Device, autodiff, nn::{Linear, Params}};
    /// # fn main() -> gradus::Result<()> {
    /// let params = Params::new(&Device::cpu(), 0);
    /// let layer = Linear::new(&params, 3, 1)?;
    /// let x = gradus::Tensor::ones(&Device::cpu(), [4, 3])?;
    /// let now: Vec<_> = params.trainable().iter().map(|p| p.get()).collect();
    /// let ones: Vec<_> = now.iter().map(|p| p.full_like(1.0)).collect::<gradus::Result<_>>()?;
    /// let product = autodiff::hvp(
    ///     |values| params.with(values, || layer.forward(&x)?.square()?.sum(&[], false)),
    ///     &now.iter().collect::<Vec<_>>(),
    ///     &ones.iter().collect::<Vec<_>>(),
    /// )?;
    /// assert_eq!(product[0].to_vec::<f32>()?, [32.0; 3]); // 2 Σ x xᵀ(1, 1, 1) + 2 Σ x
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Errors: [`Error::Shape`], [`Error::DType`], [`Error::Device`] if the values are not like the
    /// parameters; those of `body`.
    pub fn with<T>(&self, values: &[Tensor], body: impl FnOnce() -> Result<T>) -> Result<T> {
        let parameters = self.trainable();
        if parameters.len() != values.len() {
            return Err(Error::shape(
                "params",
                format!("{} values for {} parameters", values.len(), parameters.len()),
                "Give one value for each of `trainable()`, in that order.",
            ));
        }
        parameters.iter().zip(values).try_for_each(|(p, value)| p.check(value))?;
        exchanged(&parameters, values, body)
    }

    /// The gradient of every trained parameter for each of `examples` examples apart: of shape
    /// `[examples, parameter.shape..]`, in the order of [`trainable`](Self::trainable).
    ///
    /// `losses` computes one number for each example, `[examples]`, each from its own example alone; for a
    /// per-example Jacobian it is called for one output after the other. Meanwhile every parameter reads as
    /// `examples` copies of itself along a new first axis, which cost no memory, and
    /// [`Linear`](super::Linear) and [`Conv2d`](super::Conv2d) use the n-th copy for the n-th example: one
    /// pass forward and one back, in a few batched kernels. The gradients can be differentiated again. They
    /// take `examples` times the memory of the parameters.
    ///
    /// A model with other layers that have parameters goes through
    /// [`autodiff::per_example_grad`](crate::autodiff::per_example_grad), one example at a time.
    ///
    /// ```
    /// use gradus::nn::{Linear, Params};
    /// use gradus::{Device, Tensor};
    /// # fn main() -> gradus::Result<()> {
    /// let params = Params::new(&Device::cpu(), 3);
    /// let layer = Linear::new(&params, 4, 1)?;
    /// let x = Tensor::ones(&Device::cpu(), [5, 4])?;
    /// let jacobian = params.per_example_grad(5, || layer.forward(&x)?.reshape([5]))?;
    /// assert_eq!(**jacobian[0].shape(), [5, 1, 4]); // the weight's: the examples themselves
    /// assert_eq!(jacobian[0].to_vec::<f32>()?, [1.0; 20]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Source of the idea: Goodfellow 2015, arXiv:1510.01799.
    /// Errors: [`Error::Shape`] unless the losses are `[examples]`, or where another kind of layer meets a
    /// parameter with an axis too many; those of `losses` and of the walk back.
    pub fn per_example_grad(
        &self,
        examples: usize,
        losses: impl FnOnce() -> Result<Tensor>,
    ) -> Result<Vec<Tensor>> {
        let parameters = self.trainable();
        let copies: Result<Vec<Tensor>> = parameters
            .iter()
            .map(|p| {
                let value = p.get();
                let mut dims = vec![examples];
                dims.extend(value.shape().iter());
                value.unsqueeze(0)?.broadcast_to(dims)
            })
            .collect();
        let taps: Vec<Tensor> = copies?.iter().map(Tensor::tap).collect();
        let losses = exchanged(&parameters, &taps, losses)?;
        if **losses.shape() != [examples] {
            return Err(Error::shape(
                "per_example_grad",
                format!("losses {} for {examples} examples", losses.shape()),
                "Give one number for each example, [examples].",
            ));
        }
        // The n-th copies reach the n-th loss alone.
        losses.sum(&[], false)?.grad(&taps.iter().collect::<Vec<_>>())
    }

    /// The device the parameters live on.
    pub fn device(&self) -> &Device {
        &self.store.device
    }

    /// The type of the parameters.
    pub fn dtype(&self) -> DType {
        self.store.dtype
    }

    /// The seed of the starting values.
    pub fn seed(&self) -> u64 {
        self.store.seed
    }
}

/// Runs `body` while the parameters read as `values`.
fn exchanged<T>(parameters: &[Parameter], values: &[Tensor], body: impl FnOnce() -> Result<T>) -> Result<T> {
    let _back = Back(parameters.iter().zip(values).map(|(p, v)| (p, p.lend(v.clone(), true))).collect());
    body()
}

/// Puts parameters back when it goes, in a panic too.
struct Back<'a>(Vec<(&'a Parameter, (Tensor, bool))>);

impl Drop for Back<'_> {
    fn drop(&mut self) {
        for (parameter, (value, lent)) in self.0.drain(..) {
            parameter.lend(value, lent);
        }
    }
}

fn twice(path: &str) -> Error {
    Error::argument(
        "params",
        format!("`{path}` is defined twice"),
        "Give each layer a path of its own with `params.at(name)`.",
    )
}

fn check_path(path: &str) -> Result<()> {
    let part =
        |p: &str| !p.is_empty() && p.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if path.split('.').all(part) && path.split('.').next() != Some(RESERVED) {
        return Ok(());
    }
    Err(Error::argument(
        "params",
        format!("`{path}` as a path"),
        format!("Use letters, digits, `_` and `-`, parts separated by dots, the first not `{RESERVED}`."),
    ))
}

impl fmt::Display for Params {
    /// One line a parameter: path, shape and type, number of elements; buffers in parentheses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.all();
        let width = all.iter().map(|p| p.path().len() + 2).max().unwrap_or(0);
        for p in &all {
            let name = if p.is_trainable() { p.path().to_string() } else { format!("({})", p.path()) };
            writeln!(f, "{name:width$}  {:>10}  {}", p.count(), p.get().describe())?;
        }
        write!(f, "{:width$}  {:>10}  trained", "", self.count())
    }
}

impl fmt::Debug for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
