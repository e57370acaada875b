//! Convolution, pooling and resizing.

use super::{Answer, Call, Stop};
use gradus::Tensor;
use gradus::ops::{ConvOptions, Coordinates, Interpolation, Pool, Resize, Rounding};

pub fn run(call: &Call) -> Option<Answer> {
    Some(match call.node.op.as_str() {
        "Conv" => conv(call),
        "ConvTranspose" => conv_transpose(call),
        "Col2Im" => col2im(call),
        "MaxPool" => max_pool(call),
        "AveragePool" => average_pool(call),
        "LpPool" => lp_pool(call),
        "GlobalAveragePool" => call.float(0).and_then(|x| Ok(vec![x.mean(&spatial(&x), true)?])),
        "GlobalMaxPool" => call.float(0).and_then(|x| Ok(vec![x.max(&spatial(&x), true)?])),
        "MaxUnpool" => max_unpool(call),
        "Resize" => resize(call),
        _ => return None,
    })
}

fn spatial(x: &Tensor) -> Vec<isize> {
    (2..x.rank() as isize).collect()
}

/// One number for each axis of the image.
fn each<const N: usize>(call: &Call, name: &str, default: usize) -> [usize; N] {
    call.sizes(name).map_or([default; N], |list| list.try_into().unwrap())
}

fn pads<const N: usize>(call: &Call) -> ([usize; N], [usize; N]) {
    let list = call.sizes("pads").unwrap_or_else(|| vec![0; 2 * N]);
    (list[..N].try_into().unwrap(), list[N..].try_into().unwrap())
}

fn image<const N: usize>(x: &Tensor) -> [usize; N] {
    x.shape()[2..].try_into().unwrap()
}

fn conv_options<const N: usize>(call: &Call, x: &Tensor, w: &Tensor) -> ConvOptions<N> {
    let options = ConvOptions::default()
        .stride(each(call, "strides", 1))
        .dilation(each(call, "dilations", 1))
        .groups(call.int("group", 1) as usize);
    match call.text("auto_pad", "NOTSET") {
        "SAME_UPPER" => options.same_upper(image(x), image(w)),
        "SAME_LOWER" => options.same_lower(image(x), image(w)),
        _ => {
            let (before, after) = pads(call);
            options.padding_each(before, after)
        }
    }
}

fn conv(call: &Call) -> Answer {
    let (x, w, bias) = (call.float(0)?, call.float(1)?, call.optional(2)?);
    Ok(vec![match x.rank() {
        3 => x.conv1d(&w, bias.as_ref(), conv_options(call, &x, &w))?,
        4 => x.conv2d(&w, bias.as_ref(), conv_options(call, &x, &w))?,
        _ => x.conv3d(&w, bias.as_ref(), conv_options(call, &x, &w))?,
    }])
}

/// The output's extents may be given instead of the padding: what is too much is cut, most of it behind for
/// `SAME_UPPER`, else before.
fn transposed_options<const N: usize>(call: &Call, x: &Tensor, w: &Tensor) -> (ConvOptions<N>, [usize; N]) {
    let mut options = conv_options::<N>(call, x, w);
    let mut extra: [usize; N] = each(call, "output_padding", 0);
    let upper = call.text("auto_pad", "NOTSET") == "SAME_UPPER";
    let wanted = match (call.sizes("output_shape"), call.text("auto_pad", "NOTSET")) {
        (Some(list), _) => list,
        (None, "NOTSET") => return (options, extra),
        _ => (0..N).map(|a| image::<N>(x)[a] * options.stride[a]).collect(),
    };
    let (mut before, mut after) = ([0; N], [0; N]);
    for axis in 0..N {
        let reach = (image::<N>(w)[axis] - 1) * options.dilation[axis] + 1;
        let full = (image::<N>(x)[axis] - 1) * options.stride[axis] + reach + extra[axis];
        let over = full.saturating_sub(wanted[axis]);
        extra[axis] += wanted[axis].saturating_sub(full);
        before[axis] = if upper { over / 2 } else { over - over / 2 };
        after[axis] = over - before[axis];
    }
    options = options.padding_each(before, after);
    (options, extra)
}

fn conv_transpose(call: &Call) -> Answer {
    let (x, w, bias) = (call.float(0)?, call.float(1)?, call.optional(2)?);
    Ok(vec![match x.rank() {
        3 => {
            let (options, extra) = transposed_options(call, &x, &w);
            x.conv_transpose1d(&w, bias.as_ref(), options, extra)?
        }
        4 => {
            let (options, extra) = transposed_options(call, &x, &w);
            x.conv_transpose2d(&w, bias.as_ref(), options, extra)?
        }
        _ => {
            let (options, extra) = transposed_options(call, &x, &w);
            x.conv_transpose3d(&w, bias.as_ref(), options, extra)?
        }
    }])
}

fn col2im(call: &Call) -> Answer {
    let sizes = |index| call.whole(index).iter().map(|&v| v as usize).collect::<Vec<_>>();
    let (Ok(image), Ok(kernel)) = (sizes(1).try_into(), sizes(2).try_into()) else {
        return Err(Stop::Missing("patches of volumes"));
    };
    let (before, after) = pads::<2>(call);
    let options = ConvOptions::default()
        .stride(each(call, "strides", 1))
        .dilation(each(call, "dilations", 1))
        .padding_each(before, after);
    Ok(vec![call.float(0)?.fold(image, kernel, options)?])
}

fn pool<const N: usize>(call: &Call, x: &Tensor) -> Pool<N> {
    let pool = Pool::new(each(call, "kernel_shape", 1))
        .stride(each(call, "strides", 1))
        .dilation(each(call, "dilations", 1))
        .ceil(call.flag("ceil_mode"));
    match call.text("auto_pad", "NOTSET") {
        "SAME_UPPER" => pool.same_upper(image(x)),
        "SAME_LOWER" => pool.same_lower(image(x)),
        _ => {
            let (before, after) = pads(call);
            pool.padding_each(before, after)
        }
    }
}

fn max_pool(call: &Call) -> Answer {
    let x = call.float(0)?;
    if call.node.outputs.len() > 1 {
        return max_pool_with_indices(call, &x);
    }
    Ok(vec![match x.rank() {
        3 => x.max_pool1d(pool(call, &x))?,
        4 => x.max_pool2d(pool(call, &x))?,
        _ => x.max_pool3d(pool(call, &x))?,
    }])
}

/// ONNX counts positions through the whole tensor, in `storage_order` 1 column by column.
fn max_pool_with_indices(call: &Call, x: &Tensor) -> Answer {
    let (y, at) = x.max_pool2d_with_indices(pool(call, x))?;
    let (height, width) = (x.shape()[2] as i32, x.shape()[3] as i32);
    let windows = (y.shape()[2] * y.shape()[3]) as i32;
    let counted = |(i, at): (usize, i32)| {
        let plane = i as i32 / windows * height * width;
        let (row, column) = (at / width, at % width);
        plane + if call.flag("storage_order") { column * height + row } else { at }
    };
    let at: Vec<i32> = at.to_vec::<i32>()?.into_iter().enumerate().map(counted).collect();
    let at = call.index(&at, y.shape())?;
    Ok(vec![y, at])
}

fn average_pool(call: &Call) -> Answer {
    let x = call.float(0)?;
    let padded = call.flag("count_include_pad");
    Ok(vec![match x.rank() {
        3 => x.avg_pool1d(pool(call, &x), padded)?,
        4 => x.avg_pool2d(pool(call, &x), padded)?,
        _ => x.avg_pool3d(pool(call, &x), padded)?,
    }])
}

fn lp_pool(call: &Call) -> Answer {
    let (x, p) = (call.float(0)?, call.int("p", 2) as f64);
    match x.rank() {
        3 => {
            let along = pool::<1>(call, &x);
            let flat = Pool::new([1, along.kernel[0]]).stride([1, along.stride[0]]);
            Ok(vec![x.unsqueeze(2)?.lp_pool2d(p, flat)?.squeeze(2)?])
        }
        4 => Ok(vec![x.lp_pool2d(p, pool(call, &x))?]),
        _ => Err(Stop::Missing("p-norm pooling of volumes")),
    }
}

/// ONNX counts positions through the whole tensor that the pooling read.
fn max_unpool(call: &Call) -> Answer {
    let x = call.float(0)?;
    let (kernel, stride) = (each::<2>(call, "kernel_shape", 1), each::<2>(call, "strides", 1));
    let restored: [usize; 2] = std::array::from_fn(|a| (x.shape()[2 + a] - 1) * stride[a] + kernel[a]);
    let windows = x.shape()[2] * x.shape()[3];
    let plane = (restored[0] * restored[1]) as i64;
    let own = |(i, at): (usize, i64)| (at - (i / windows) as i64 * plane) as i32;
    let at: Vec<i32> = call.whole(1).into_iter().enumerate().map(own).collect();
    let y = x.max_unpool2d(&call.index(&at, x.shape())?, restored)?;
    if !call.has(2) {
        return Ok(vec![y]);
    }
    // A larger output has zeros behind.
    let more = |axis: usize| call.whole(2)[axis] as usize - y.shape()[axis];
    Ok(vec![y.pad(&[(0, 0), (0, 0), (0, more(2)), (0, more(3))], 0.0)?])
}

fn resize(call: &Call) -> Answer {
    let x = call.float(0)?;
    let missing = match call.text("coordinate_transformation_mode", "half_pixel") {
        "tf_crop_and_resize" => Some("cropping while resizing"),
        "half_pixel_symmetric" => Some("symmetric half pixels"),
        _ if call.flag("antialias") => Some("antialiasing"),
        _ if call.flag("exclude_outside") => Some("cubic weights without what lies outside"),
        _ => None,
    };
    if let Some(what) = missing {
        return Err(Stop::Missing(what));
    }
    let options = Resize {
        interpolation: match call.text("mode", "nearest") {
            "linear" => Interpolation::Linear,
            "cubic" => Interpolation::Cubic(call.number("cubic_coeff_a", -0.75)),
            _ => Interpolation::Nearest,
        },
        coordinates: match call.text("coordinate_transformation_mode", "half_pixel") {
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "pytorch_half_pixel" => Coordinates::HalfPixelOrFirst,
            _ => Coordinates::HalfPixel,
        },
        rounding: match call.text("nearest_mode", "round_prefer_floor") {
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            "round_prefer_ceil" => Rounding::PreferCeil,
            _ => Rounding::PreferFloor,
        },
    };
    Ok(vec![x.resize(&extents(call, &x)?, options)?])
}

/// From sizes, or from scales where these give whole sizes: gradus knows no others.
fn extents(call: &Call, x: &Tensor) -> Answer<Vec<usize>> {
    let axes = call.sizes("axes").unwrap_or_else(|| (0..x.rank()).collect());
    let mut extents = x.shape().to_vec();
    let given = call.stored(if call.has(3) { 3 } else { 2 });
    let mut scales: Vec<f64> = vec![];
    for (&axis, &value) in axes.iter().zip(&given.data) {
        let extent = if call.has(3) { value } else { value * extents[axis] as f64 };
        if extent.fract() != 0.0 {
            return Err(Stop::Missing("scales between whole sizes"));
        }
        scales.push(extent / extents[axis] as f64);
        extents[axis] = extent as usize;
    }
    let policy = call.text("keep_aspect_ratio_policy", "stretch");
    if policy != "stretch" {
        let pick = if policy == "not_larger" { f64::min } else { f64::max };
        let scale = scales.into_iter().reduce(pick).unwrap();
        for &axis in &axes {
            extents[axis] = (x.shape()[axis] as f64 * scale).round() as usize;
        }
    }
    Ok(extents)
}
