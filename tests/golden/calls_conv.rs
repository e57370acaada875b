//! Convolution, pooling, resizing and patches as calls of gradus.

use super::Case;
use super::calls::Call;
use gradus::ops::{ConvOptions, Coordinates, Interpolation, Pool, Resize};

/// The options of a convolution of `t["x"]` by `t["w"]`; padding may be `"same"`.
fn conv<const N: usize>(case: &Case, image: &[usize], kernel: &[usize]) -> ConvOptions<N> {
    let options = ConvOptions::default()
        .stride(case.array("stride"))
        .dilation(case.array("dilation"))
        .groups(case.options["groups"].as_u64().unwrap_or(1) as usize);
    if case.options["padding"] == "same" {
        options.same_upper(image[2..].try_into().unwrap(), kernel[2..].try_into().unwrap())
    } else {
        options.padding(case.array("padding"))
    }
}

/// The windows of a pooling.
fn pool<const N: usize>(case: &Case) -> Pool<N> {
    let given = |option: &str| !case.options[option].is_null();
    let pool =
        Pool::new(case.array("kernel")).stride(case.array("stride")).ceil(given("ceil") && case.flag("ceil"));
    let pool = if given("padding") { pool.padding(case.array("padding")) } else { pool };
    if given("dilation") { pool.dilation(case.array("dilation")) } else { pool }
}

/// What computes an operation of the area `conv`, and the plain ones of `torch`.
pub fn call(op: &str) -> Option<Call> {
    let call: Call = match op {
        "conv1d" => |case, t| t["x"].conv1d(&t["w"], t.get("b"), conv(case, t["x"].shape(), t["w"].shape())),
        "conv2d" => |case, t| t["x"].conv2d(&t["w"], t.get("b"), conv(case, t["x"].shape(), t["w"].shape())),
        "conv3d" => |case, t| t["x"].conv3d(&t["w"], t.get("b"), conv(case, t["x"].shape(), t["w"].shape())),
        "conv_transpose1d" => |case, t| {
            t["x"].conv_transpose1d(&t["w"], t.get("b"), conv(case, &[], &[]), case.array("output_padding"))
        },
        "conv_transpose2d" => |case, t| {
            t["x"].conv_transpose2d(&t["w"], t.get("b"), conv(case, &[], &[]), case.array("output_padding"))
        },
        "conv_transpose3d" => |case, t| {
            t["x"].conv_transpose3d(&t["w"], t.get("b"), conv(case, &[], &[]), case.array("output_padding"))
        },
        "max_pool1d" => |case, t| t["x"].max_pool1d(pool(case)),
        "max_pool2d" => |case, t| t["x"].max_pool2d(pool(case)),
        "max_pool3d" => |case, t| t["x"].max_pool3d(pool(case)),
        "avg_pool1d" => |case, t| t["x"].avg_pool1d(pool(case), case.flag("count_include_pad")),
        "avg_pool2d" => |case, t| t["x"].avg_pool2d(pool(case), case.flag("count_include_pad")),
        "avg_pool3d" => |case, t| t["x"].avg_pool3d(pool(case), case.flag("count_include_pad")),
        "lp_pool2d" => |case, t| t["x"].lp_pool2d(case.number("p"), pool(case)),
        "adaptive_avg_pool2d" | "adaptive_avg_pool3d" => {
            |case, t| t["x"].adaptive_avg_pool(&case.list("extents"))
        }
        "adaptive_max_pool2d" => |case, t| t["x"].adaptive_max_pool(&case.list("extents")),
        "max_unpool2d" => |case, t| t["x"].max_unpool2d(&t["idx"], case.pair("extents")),
        "interpolate" => |case, t| {
            let options = match case.options["mode"].as_str() {
                Some("nearest") => Resize::NEAREST,
                Some("bicubic") => Resize { interpolation: Interpolation::Cubic(-0.75), ..Resize::LINEAR },
                _ => Resize::LINEAR,
            };
            let corners = case.flag("align_corners");
            let options = if corners { options.coordinates(Coordinates::AlignCorners) } else { options };
            t["x"].resize(&case.list("extents"), options)
        },
        "unfold" => |case, t| t["x"].unfold(case.pair("kernel"), conv(case, &[], &[])),
        "fold" => |case, t| t["x"].fold(case.pair("image"), case.pair("kernel"), conv(case, &[], &[])),
        _ => return None,
    };
    Some(call)
}
