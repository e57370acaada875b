//! The cases of choosing by index.

use crate::dtype::DType;
use crate::verify::{Case, Input, Room};

/// x, the axis, how many are chosen, and whether central differences are affordable.
fn choices() -> Vec<(Vec<usize>, isize, usize, bool)> {
    vec![
        (vec![1], 0, 1, true),
        (vec![5], 0, 0, true),
        (vec![7], 0, 63, true),
        (vec![64], 0, 64, true),
        (vec![65, 1], 0, 65, true),
        (vec![13, 5], 0, 31, true),
        (vec![4, 11], -1, 17, true),
        (vec![3, 7, 5], 1, 9, true),
        (vec![2, 3, 0], 1, 4, true),
        (vec![0, 3], 1, 4, true),
        (vec![97, 33], 0, 257, false),
        (vec![11, 3], 0, 66_000, false),
    ]
}

fn selecting() -> [Room; 2] {
    let (mut select, mut add) = (vec![], vec![]);
    for (shape, axis, chosen, gradient) in choices() {
        let at = axis.rem_euclid(shape.len() as isize) as usize;
        let detail = format!("{shape:?} axis {axis}, {chosen}");
        let (extent, mut picked) = (shape[at], shape.clone());
        picked[at] = chosen;
        let indices = Input::index([chosen], extent as i32);
        let limited = |case: Case| if gradient { case } else { case.value_only() };
        select.push(limited(
            Case::new("index_select", &detail, [Input::whole(&shape), indices.clone()], move |x| {
                x[0].index_select(axis, &x[1])
            })
            .exact(),
        ));
        let inputs = [Input::whole(&picked), indices.clone()];
        let run = move |x: &[crate::Tensor]| x[0].index_add(axis, &x[1], extent);
        add.push(limited(Case::new("index_add", &detail, inputs, run).exact()));
        if gradient && chosen > 1 {
            add.push(Case::new("index_add", &format!("{detail} any"), [Input::any(&picked), indices], run));
        }
    }
    let few = || Input::fixed_index([5], &[3, 0, 3, 3, 1]);
    let x = || Input::whole([4, 6]);
    for (detail, x) in
        [("strided", x().strided()), ("transposed", x().transposed()), ("repeated", x().repeated())]
    {
        let run = |x: &[crate::Tensor]| x[0].index_select(0, &x[1]);
        select.push(Case::new("index_select", detail, [x, few()], run).exact());
    }
    let indices = || Input::index([5], 4);
    for (detail, indices) in
        [("indices strided", indices().strided()), ("indices repeated", indices().repeated())]
    {
        let run = |x: &[crate::Tensor]| x[0].index_select(0, &x[1]);
        select.push(Case::new("index_select", detail, [x(), indices], run).exact());
    }
    let integers = [Input::index([4, 6], 1 << 30), few()];
    select
        .push(Case::new("index_select", "integers", integers, |x| x[0].index_select(0, &x[1])).value_only());
    add.push(
        Case::new("index_add", "into more than is named", [Input::whole([5, 3]), few()], |x| {
            x[0].index_add(0, &x[1], 70)
        })
        .exact(),
    );
    add.push(
        Case::new("index_add", "all to one", [Input::whole([200, 3]), Input::index([200], 1)], |x| {
            x[0].index_add(0, &x[1], 2)
        })
        .exact(),
    );
    add.push(
        Case::new("index_add", "transposed", [Input::whole([5, 4]).transposed(), few()], |x| {
            x[0].index_add(0, &x[1], 4)
        })
        .exact(),
    );
    let bad = |values: &[i32]| Input::fixed_index([values.len()], values);
    let calls = [
        ("index too large", x(), bad(&[0, 4]), 0),
        ("index negative", x(), bad(&[-1, 0]), 0),
        ("index most negative", x(), bad(&[i32::MIN]), 0),
        ("nothing to choose", Input::whole([0, 6]), bad(&[0]), 0),
        ("float indices", x(), Input::whole([2]), 0),
        ("two axes of indices", x(), Input::index([1, 1], 4), 0),
        ("axis beyond", x(), bad(&[0]), 2),
    ];
    for (detail, x, indices, axis) in calls {
        select.push(
            Case::new("index_select", detail, [x, indices], move |x| x[0].index_select(axis, &x[1])).fails(),
        );
    }
    let calls = [
        ("index too large", Input::whole([2, 3]), bad(&[0, 4])),
        ("index negative", Input::whole([2, 3]), bad(&[-1, 0])),
        ("too few indices", Input::whole([2, 3]), bad(&[0])),
        ("float indices", Input::whole([2, 3]), Input::whole([2])),
        ("integer x", Input::index([2, 3], 9), bad(&[0, 0])),
    ];
    for (detail, x, indices) in calls {
        add.push(Case::new("index_add", detail, [x, indices], |x| x[0].index_add(0, &x[1], 4)).fails());
    }
    [Room { op: "index_select", cases: select }, Room { op: "index_add", cases: add }]
}

fn embedding() -> Room {
    let call = |detail: &str, table: Input, indices: Input| {
        Case::new("embedding", detail, [table, indices], |x| x[0].embedding(&x[1]))
    };
    let table = || Input::whole([11, 7]);
    let cases = vec![
        call("one", Input::whole([1, 1]), Input::index([], 1)).exact(),
        call("3x5 of 11x7", table(), Input::index([3, 5], 11)).exact(),
        call("2x3x4 of 11x7, transposed", table().transposed(), Input::index([2, 3, 4], 11).transposed())
            .exact(),
        call("no index", table(), Input::index([3, 0], 11)).exact(),
        call("no columns", Input::whole([11, 0]), Input::index([3], 11)).exact(),
        call("range unknown", table(), Input::whole([9])).fails(),
        // Converted on the device, so that nobody knows the range until it is read back.
        Case::new("embedding", "range read back", [table(), Input::fixed([3], &[0.0, 10.0, 4.0])], |x| {
            x[0].embedding(&x[1].to_dtype(DType::I32)?)
        })
        .value_only()
        .exact(),
        Case::new(
            "embedding",
            "out of range once read back",
            [table(), Input::fixed([2], &[3.0, 11.0])],
            |x| x[0].embedding(&x[1].to_dtype(DType::I32)?),
        )
        .fails(),
        // The range of the whole does not fit, that of the slice does.
        Case::new(
            "embedding",
            "slice of a wider range",
            [table(), Input::fixed_index([3], &[99, 10, 4])],
            |x| x[0].embedding(&x[1].slice(0, 1, 3)?),
        )
        .exact(),
        call("rank 3 table", Input::whole([2, 2, 2]), Input::index([3], 2)).fails(),
        call("rank beyond", table(), Input::index([1, 1, 1, 1, 1, 1, 1, 2], 11)).fails(),
    ];
    Room { op: "embedding", cases }
}

fn picking() -> [Room; 2] {
    let (mut pick, mut unpick) = (vec![], vec![]);
    let rows: [(&[usize], usize, bool); 9] = [
        (&[], 3, true),
        (&[1], 1, true),
        (&[63], 10, true),
        (&[64], 2, true),
        (&[65], 3, true),
        (&[3, 4, 5], 7, true),
        (&[0], 5, true),
        (&[31, 41], 37, false),
        (&[66_000], 2, false),
    ];
    for (rows, classes, gradient) in rows {
        let limited = |case: Case| if gradient { case } else { case.value_only() };
        let detail = format!("{rows:?} of {classes}");
        let logits: Vec<usize> = rows.iter().copied().chain([classes]).collect();
        let labels = Input::index(rows, classes as i32);
        let inputs = [Input::whole(logits), labels.clone()];
        pick.push(limited(Case::new("pick", &detail, inputs, |x| x[0].pick(&x[1])).exact()));
        let inputs = [Input::whole(rows), labels];
        unpick.push(limited(
            Case::new("unpick", &detail, inputs, move |x| x[0].unpick(&x[1], classes)).exact(),
        ));
    }
    let x = || Input::whole([6, 5]);
    let labels = || Input::index([6], 5);
    let placed = [
        ("strided", x().strided(), labels().strided()),
        ("transposed", x().transposed(), labels()),
        ("repeated", x().repeated(), labels().repeated()),
    ];
    for (detail, x, labels) in placed {
        pick.push(Case::new("pick", detail, [x, labels], |x| x[0].pick(&x[1])).exact());
    }
    unpick.push(
        Case::new("unpick", "strided", [Input::whole([9]).strided(), Input::index([9], 4)], |x| {
            x[0].unpick(&x[1], 4)
        })
        .exact(),
    );
    unpick.push(
        Case::new("unpick", "no rows, no classes", [Input::whole([0]), Input::index([0], 1)], |x| {
            x[0].unpick(&x[1], 0)
        })
        .exact(),
    );
    let calls = [
        ("label too large", x(), Input::fixed_index([6], &[0, 1, 2, 3, 4, 5])),
        ("label negative", x(), Input::fixed_index([6], &[0, 1, 2, 3, 4, -5])),
        ("too few labels", x(), Input::index([5], 5)),
        ("labels of another rank", x(), Input::index([6, 1], 5)),
        ("float labels", x(), Input::whole([6])),
        ("integer x", Input::index([6, 5], 9), labels()),
        ("no classes", Input::whole([6, 0]), labels()),
        ("no axis", Input::whole([]), Input::index([], 1)),
    ];
    for (detail, x, labels) in calls {
        pick.push(Case::new("pick", detail, [x, labels], |x| x[0].pick(&x[1])).fails());
    }
    let calls = [
        ("label too large", Input::whole([6]), Input::index([6], 5), 0),
        ("too few labels", Input::whole([6]), Input::index([5], 5), 5),
        ("float labels", Input::whole([6]), Input::whole([6]), 5),
        ("more than can be counted", Input::whole([6]), Input::index([6], 5), 1 << 30),
    ];
    for (detail, x, labels, classes) in calls {
        unpick.push(Case::new("unpick", detail, [x, labels], move |x| x[0].unpick(&x[1], classes)).fails());
    }
    [Room { op: "pick", cases: pick }, Room { op: "unpick", cases: unpick }]
}

pub fn rooms() -> Vec<Room> {
    selecting().into_iter().chain([embedding()]).chain(picking()).collect()
}
