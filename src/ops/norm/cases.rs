//! The cases of this room.

use super::Norm;
use super::backward::{Backward, Parameters};
use crate::error::Result;
use crate::op;
use crate::shape::Shape;
use crate::tensor::Tensor;
use crate::verify::{Case, Input, Room};

/// Large enough to be missed: beside a variance of one, 1e-5 hides within the bound of a long sum.
const EPS: f64 = 0.125;

/// Rows of one, two and three levels of lanes on either family of kernels, and more than fill a workgroup;
/// more rows than groups along one axis of the grid.
const ROWS: [&[usize]; 25] = [
    &[1, 1],
    &[3, 1],
    &[5, 7],
    &[9, 8],
    &[65, 9],
    &[3, 31],
    &[2, 2, 32],
    &[5, 63],
    &[3, 64],
    &[5, 65],
    &[2, 127],
    &[9, 128],
    &[3, 129],
    &[31, 36],
    &[41, 36],
    &[255, 35],
    &[257, 3],
    &[259, 32],
    &[511, 33],
    &[513, 41],
    &[2, 1023],
    &[3, 1025],
    &[2, 4099],
    &[4097, 37],
    &[66_000, 3],
];

/// [N, C, ..] and the number of groups.
const GROUPS: [(&[usize], usize); 14] = [
    (&[1, 1, 1], 1),
    (&[2, 6], 3),
    (&[3, 4, 5], 2),
    (&[2, 6, 3, 3], 3),
    (&[2, 6, 5, 7], 1),
    (&[3, 4, 31], 4),
    (&[2, 4, 33], 2),
    (&[2, 6, 36], 3),
    (&[43, 4, 12], 2),
    (&[2, 3, 4, 3, 5], 3),
    (&[5, 2, 8, 8], 1),
    (&[3, 4, 32, 33], 2),
    (&[130, 6, 65], 3),
    (&[1, 2, 64, 65], 2),
];

/// What a norm of one name normalises over, and by.
#[derive(Clone, Copy)]
enum Kind {
    Layer,
    Rms,
    Group(usize),
    Instance,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Layer => "layer_norm",
            Kind::Rms => "rms_norm",
            Kind::Group(_) => "group_norm",
            Kind::Instance => "instance_norm",
        }
    }

    /// The shape of gamma and beta.
    fn vector(self, x: &[usize]) -> Vec<usize> {
        match self {
            Kind::Layer | Kind::Rms => x[x.len() - 1..].to_vec(),
            Kind::Group(_) | Kind::Instance => vec![x[1]],
        }
    }

    fn centred(self) -> bool {
        !matches!(self, Kind::Rms)
    }

    /// The view of x that the operations take.
    fn view(self, x: &Tensor) -> [usize; 4] {
        let shape = x.shape();
        let (n, c) = (shape[0], shape[1]);
        let rest = || shape[2..].iter().product();
        match self {
            Kind::Layer | Kind::Rms => {
                [shape[..shape.len() - 1].iter().product(), 1, shape[shape.len() - 1], 1]
            }
            Kind::Group(groups) => [n, groups, c / groups, rest()],
            Kind::Instance => [n, c, 1, rest()],
        }
    }

    fn run(self, x: &Tensor, gamma: Option<&Tensor>, beta: Option<&Tensor>, eps: f64) -> Result<Tensor> {
        match self {
            Kind::Layer => x.layer_norm(1, gamma, beta, eps),
            Kind::Rms => x.rms_norm(1, gamma, eps),
            Kind::Group(groups) => x.group_norm(groups, gamma, beta, eps),
            Kind::Instance => x.instance_norm(gamma, beta, eps),
        }
    }

    /// The case of the value, with gamma and beta where there is one.
    fn case(self, detail: &str, x: Input, shape: &[usize], eps: f64) -> Case {
        let vector = self.vector(shape);
        let (gamma, beta) = (Input::uniform(&vector, 0.5, 1.5), Input::any(&vector));
        let inputs = if self.centred() { vec![x, gamma, beta] } else { vec![x, gamma] };
        Case::new(self.name(), detail, inputs, move |x| self.run(&x[0], Some(&x[1]), x.get(2), eps))
    }

    /// The cases of the fused gradients: dx, dgamma and dbeta at x, gamma and dy.
    fn gradients(self, detail: &str, x: Input, shape: &[usize], large: bool) -> [Case; 3] {
        let gamma = Input::uniform(self.vector(shape), 0.5, 1.5);
        let detail = format!("{} {detail}", self.name());
        let inputs = [x.clone(), gamma, Input::any(shape)];
        let dx = Case::new("norm_backward", &detail, inputs, move |x| {
            let [x0, gamma, dy, saved] = self.given(&x[0], &x[1], &x[2])?;
            let backward = Backward { centred: self.centred(), eps: EPS };
            op::apply(backward, &[&x0, &gamma, &dy, &saved])?.swap_remove(0).reshape(x[0].shape())
        });
        let parameters = |output: usize, what: &str| {
            let case =
                Case::new("norm_parameters", &format!("{detail}, {what}"), [x.clone(), Input::any(shape)], {
                    move |x| self.parameters(&x[0], &x[1], output)
                });
            // The derivative of dbeta with respect to x is zero by its structure.
            if large || output == 1 { case.value_only() } else { case }
        };
        [if large { dx.value_only() } else { dx }, parameters(0, "dgamma"), parameters(1, "dbeta")]
    }

    fn parameters(self, x: &Tensor, dy: &Tensor, output: usize) -> Result<Tensor> {
        let view = self.view(x);
        let ones = x.like(Shape::known(&[view[1], view[2], 1]), 1.0)?;
        let [x, _, dy, saved] = self.given(x, &ones, dy)?;
        let parameters = Parameters { centred: self.centred(), eps: EPS };
        Ok(op::apply(parameters, &[&x, &dy, &saved])?.swap_remove(output))
    }

    /// Views of the inputs as the operations take them, and what the forward pass saves.
    fn given(self, x: &Tensor, gamma: &Tensor, dy: &Tensor) -> Result<[Tensor; 4]> {
        let view = self.view(x);
        let (x, dy) = (x.reshape(view)?, dy.reshape(view)?);
        let gamma = gamma.reshape([view[1], view[2], 1])?;
        let (at, constant) = (x.detach(), gamma.detach());
        let norm = Norm { name: self.name(), centred: self.centred(), eps: EPS };
        let inputs = [&at, &constant, &constant];
        let saved = op::apply(norm, &inputs[..if self.centred() { 3 } else { 2 }])?.swap_remove(1);
        Ok([x, gamma, dy, saved])
    }
}

/// The cases of one norm: every shape and layout, means far from zero, and calls that fail.
fn cases(kind: Kind, shapes: &[(&[usize], Kind)], gradients: &mut Vec<Case>) -> Vec<Case> {
    let mut cases = Vec::new();
    for &(shape, kind) in shapes {
        let count: usize = shape.iter().product();
        let detail = match kind {
            Kind::Group(groups) => format!("{shape:?} in {groups} groups"),
            _ => format!("{shape:?}"),
        };
        let case = kind.case(&detail, Input::any(shape), shape, EPS);
        cases.push(if count > 1000 { case.value_only() } else { case });
        gradients.extend(kind.gradients(&detail, Input::any(shape), shape, count > 300));
    }
    let layouts = [
        ("6x9x7 transposed", Input::any([6, 9, 7]).transposed()),
        ("6x9x7 stride 2", Input::any([6, 9, 7]).strided()),
        ("6x9x7 stride 0", Input::any([6, 9, 7]).repeated()),
    ];
    for (detail, x) in layouts {
        cases.push(kind.case(detail, x.clone(), &[6, 9, 7], EPS));
        gradients.extend(kind.gradients(detail, x, &[6, 9, 7], true));
    }
    for mean in [1e3, 1e4, -1e4] {
        let shape = [4, 3, 8, 9];
        let x = Input::uniform(shape, mean - 2.0, mean + 2.0);
        let detail = format!("mean {mean}");
        cases.push(kind.case(&detail, x.clone(), &shape, EPS).value_only());
        gradients.extend(kind.gradients(&detail, x, &shape, true));
    }
    // Rows of one level each: the largest number of any lane must not be what the others count from.
    for shape in [[3, 3, 7], [3, 3, 70], [1, 3, 1100]] {
        let mut sparse = vec![0.0; shape.iter().product()];
        sparse.iter_mut().step_by(shape[2]).for_each(|first| *first = 50.0);
        sparse.iter_mut().step_by(3).for_each(|other| *other += 1.0);
        let detail = format!("first elements far out, {shape:?}");
        cases.push(kind.case(&detail, Input::fixed(shape, &sparse), &shape, EPS).value_only());
    }
    let constant = Input::fixed([2, 3, 4], &[7.3f32.into(); 24]);
    cases.push(kind.case("constant", constant, &[2, 3, 4], EPS).value_only());
    cases.push(kind.case("no rows", Input::any([0, 3, 4]), &[0, 3, 4], EPS).value_only());
    gradients.extend(kind.gradients("no rows", Input::any([0, 3, 4]), &[0, 3, 4], true));
    cases.push(kind.case("eps 1e-5", Input::any([4, 3, 5]), &[4, 3, 5], 1e-5));
    let bare = Case::new(kind.name(), "neither scale nor shift", [Input::any([4, 3, 5])], move |x| {
        kind.run(&x[0], None, None, EPS)
    });
    cases.push(bare);
    cases.push(kind.case("rows without elements", Input::any([4, 3, 0]), &[4, 3, 0], EPS).fails());
    cases.push(kind.case("integers", Input::index([4, 3, 5], 9), &[4, 3, 5], EPS).fails());
    let short = [Input::any([4, 3, 5]), Input::any([2])];
    cases.push(
        Case::new(kind.name(), "gamma too short", short, move |x| kind.run(&x[0], Some(&x[1]), None, EPS))
            .fails(),
    );
    let integers = [Input::any([4, 5, 5]), Input::index([5], 3)];
    cases.push(
        Case::new(kind.name(), "gamma of integers", integers, move |x| {
            kind.run(&x[0], Some(&x[1]), None, EPS)
        })
        .fails(),
    );
    for eps in [0.0, -1e-5, f64::NAN, 1e-300] {
        cases.push(kind.case(&format!("eps {eps}"), Input::any([4, 3, 5]), &[4, 3, 5], eps).fails());
    }
    cases
}

/// dbeta is a plain sum: whole numbers must come out exactly.
fn exact_dbeta(kind: Kind, shape: &'static [usize]) -> Case {
    let detail = format!("{} {shape:?}, dbeta of whole numbers", kind.name());
    Case::new("norm_parameters", &detail, [Input::whole(shape), Input::whole(shape)], move |x| {
        kind.parameters(&x[0], &x[1], 1)
    })
    .value_only()
    .exact()
}

pub(in crate::ops) fn rooms() -> Vec<Room> {
    let rows = |kind: Kind| ROWS.map(|shape| (shape, kind));
    let groups = GROUPS.map(|(shape, groups)| (shape, Kind::Group(groups)));
    let instances =
        [&[2, 3][..], &[2, 3, 7], &[3, 5, 4, 5], &[2, 3, 40, 41]].map(|shape| (shape, Kind::Instance));
    let mut gradients = Vec::new();
    let mut layer = cases(Kind::Layer, &rows(Kind::Layer), &mut gradients);
    let rms = cases(Kind::Rms, &rows(Kind::Rms), &mut gradients);
    let mut group = cases(Kind::Group(3), &groups, &mut gradients);
    let instance = cases(Kind::Instance, &instances, &mut gradients);
    let two_axes = [Input::any([3, 4, 5]), Input::uniform([4, 5], 0.5, 1.5), Input::any([4, 5])];
    layer.push(Case::new("layer_norm", "two axes", two_axes, |x| {
        x[0].layer_norm(2, Some(&x[1]), Some(&x[2]), EPS)
    }));
    for axes in [0, 3] {
        let run = move |x: &[Tensor]| x[0].layer_norm(axes, None, None, EPS);
        layer
            .push(Case::new("layer_norm", &format!("{axes} axes of two"), [Input::any([3, 4])], run).fails());
    }
    for groups in [0, 2, 9] {
        let run = move |x: &[Tensor]| x[0].group_norm(groups, None, None, EPS);
        group.push(
            Case::new("group_norm", &format!("{groups} groups of three"), [Input::any([2, 3, 4])], run)
                .fails(),
        );
    }
    group.push(
        Case::new("group_norm", "rank 1", [Input::any([4])], |x| x[0].group_norm(1, None, None, EPS)).fails(),
    );
    for (kind, shape) in [
        (Kind::Layer, &[65, 3][..]),
        (Kind::Layer, &[3001, 5]),
        (Kind::Group(2), &[3, 4, 61, 7]),
        (Kind::Instance, &[70, 2, 65]),
    ] {
        gradients.push(exact_dbeta(kind, shape));
    }
    let (parameters, backward) =
        gradients.into_iter().partition(|case| case.id.starts_with("norm_parameters"));
    vec![
        Room { op: "layer_norm", cases: layer },
        Room { op: "rms_norm", cases: rms },
        Room { op: "group_norm", cases: group },
        Room { op: "instance_norm", cases: instance },
        Room { op: "norm_backward", cases: backward },
        Room { op: "norm_parameters", cases: parameters },
    ]
}
