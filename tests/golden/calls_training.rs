//! Norms and losses as calls of gradus.

use super::Case;
use super::calls::{Call, Given, reduction};
use gradus::ops::{ClassLoss, CtcLoss};

/// What computes an operation of the area `training`.
pub fn call(op: &str) -> Option<Call> {
    let call: Call = match op.strip_prefix("hvp_").unwrap_or(op) {
        "layer_norm" => {
            |case, t| t["x"].layer_norm(case.whole("axes"), t.get("w"), t.get("b"), case.number("eps"))
        }
        "rms_norm" => |case, t| t["x"].rms_norm(case.whole("axes"), t.get("w"), case.number("eps")),
        "group_norm" => {
            |case, t| t["x"].group_norm(case.whole("groups"), t.get("w"), t.get("b"), case.number("eps"))
        }
        "instance_norm" => |case, t| t["x"].instance_norm(t.get("w"), t.get("b"), case.number("eps")),
        "cross_entropy_by" => |case, t| t["x"].cross_entropy_by(&t["t"], &class_loss(case, t)),
        "nll_loss" => |case, t| t["x"].nll_loss(&t["t"], &class_loss(case, t)),
        "cross_entropy_probabilities" => {
            |case, t| t["x"].cross_entropy_probabilities(&t["p"], &class_loss(case, t))
        }
        "multi_margin_loss" => {
            |case, t| t["x"].multi_margin_loss(&t["t"], case.number("margin"), reduction(case))
        }
        "bce_with_logits" => |case, t| t["x"].bce_with_logits(&t["t"], t.get("w"), reduction(case)),
        "mse_loss" => |case, t| t["x"].mse_loss_with(&t["t"], reduction(case)),
        "l1_loss" => |case, t| t["x"].l1_loss_with(&t["t"], reduction(case)),
        "huber_loss" => |case, t| t["x"].huber_loss(&t["t"], case.number("delta"), reduction(case)),
        "smooth_l1_loss" => |case, t| t["x"].smooth_l1_loss(&t["t"], case.number("beta"), reduction(case)),
        "kl_div" => |case, t| t["x"].kl_div(&t["t"], reduction(case)),
        "kl_div_log" => |case, t| t["x"].kl_div_log(&t["t"], reduction(case)),
        "hinge_loss" => |case, t| t["x"].hinge_loss(&t["t"], case.number("margin"), reduction(case)),
        "hinge_embedding_loss" => {
            |case, t| t["x"].hinge_embedding_loss(&t["t"], case.number("margin"), reduction(case))
        }
        "margin_ranking_loss" => {
            |case, t| t["x"].margin_ranking_loss(&t["w"], &t["t"], case.number("margin"), reduction(case))
        }
        "cosine_embedding_loss" => {
            |case, t| t["x"].cosine_embedding_loss(&t["w"], &t["t"], case.number("margin"), reduction(case))
        }
        "triplet_margin_loss" => |case, t| {
            let (margin, swap) = (case.number("margin"), case.flag("swap"));
            t["x"].triplet_margin_loss(&t["w"], &t["b"], margin, swap, reduction(case))
        },
        "ctc_loss" => |case, t| {
            let options = CtcLoss {
                blank: case.whole("blank"),
                reduction: reduction(case),
                zero_infinity: case.flag("zero_infinity"),
            };
            let (inputs, targets) = (case.list("input_lengths"), case.list("target_lengths"));
            t["x"].log_softmax(-1)?.ctc_loss(&t["t"], &inputs, &targets, options)
        },
        _ => return None,
    };
    Some(call)
}

fn class_loss(case: &Case, t: &Given) -> ClassLoss {
    ClassLoss {
        reduction: reduction(case),
        label_smoothing: case.options["label_smoothing"].as_f64().unwrap_or(0.0),
        weights: t.get("w").cloned(),
        ignore_index: case.options["ignore_index"].as_i64().map(|label| label as i32),
    }
}
