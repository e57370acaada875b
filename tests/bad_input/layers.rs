//! Wrong layers, optimisers, initialisers and loss scalers.

use super::*;

#[test]
fn layers_optimisers_and_initialisers() {
    let d = Device::cpu();
    let params = || Params::new(&d, 0);
    let x = |shape: &[usize]| tensor(&d, shape);
    let trainable = || {
        let p = params();
        p.parameter("x", [1], Init::Ones)?;
        Ok(p)
    };
    check(vec![
        call("Argument", "no parameters", || Adam::new(&params(), 0.1)),
        call("Argument", "weight", || {
            let p = params();
            Linear::new(&p.at("a"), 2, 3)?;
            Linear::new(&p.at("a"), 2, 3)
        }),
        call("Shape", "matmul", || Linear::new(&params().at("a"), 2, 3)?.forward(&x(&[4, 5]))),
        call("Argument", "groups", || {
            Conv2d::new(&params().at("a"), 3, 4, [3, 3], Conv2dOptions::default().groups(2))
        }),
        call("Shape", "batch_norm", || {
            BatchNorm::new(&params().at("a"), 3)?.forward(&x(&[4, 5]), gradus::nn::Mode::Train)
        }),
        call("Shape", "lstm", || Lstm::new(&params(), 3, 4)?.forward(&x(&[2, 5]), None, None, Mode::Eval)),
        call("Shape", "input weight", || {
            Lstm::new(&params(), 3, 4)?.forward(&x(&[2, 5, 6]), None, None, Mode::Eval)
        }),
        call("Shape", "initial state", || {
            Gru::new(&params(), 3, 4)?.forward(&x(&[2, 5, 3]), Some(&x(&[2, 5, 4])), None, Mode::Eval)
        }),
        call("Argument", "0 layers", || {
            let options = RecurrentOptions { layers: 0, ..RecurrentOptions::default() };
            Gru::with(&params(), 3, 4, options)
        }),
        call("Argument", "1 layers with dropout 0.5", || {
            let options = RecurrentOptions { dropout: 0.5, ..RecurrentOptions::default() };
            Lstm::with(&params(), 3, 4, options)
        }),
        call("Argument", "Selu", || {
            Rnn::with(&params(), 3, 4, Nonlinearity::Selu, RecurrentOptions::default())
        }),
        call("Argument", "0 hidden units", || LstmCell::new(&params(), 3, 0)),
        call("Index", "outside 0..3", || {
            let lengths = labels(&Device::cpu(), &[1, 3]);
            Rnn::new(&params(), 3, 4)?.forward(&x(&[2, 2, 3]), None, Some(&lengths), Mode::Eval)
        }),
        call("Shape", "does not end in [3]", || LayerNorm::new(&params(), [3])?.forward(&x(&[4, 5]))),
        call("Argument", "2 groups for 3", || GroupNorm::new(&params(), 2, 3)),
        call("Argument", "Mode::Train", || {
            Dropout::new(&params(), 0.1)?.forward(&x(&[4, 5]), gradus::nn::Mode::Train)
        }),
        call("Argument", "`a.dropout` is defined twice", || {
            let p = params();
            Dropout::new(&p.at("a"), 0.1)?;
            Dropout::new(&p.at("a"), 0.1)
        }),
        call("Argument", "a group without parameters", || {
            Lion::new(&trainable()?, 0.1)?.group(|_| false, Group::default())
        }),
        call("Argument", "alpha 1", || RmsProp::new(&trainable()?, 0.1)?.alpha(1.0)),
        call("Argument", "eps 0", || Lamb::new(&trainable()?, 0.1)?.eps(0.0)),
        call("Argument", "`ema.x` is defined twice", || {
            let p = trainable()?;
            Ema::new(&p, 0.9)?;
            Ema::new(&p, 0.9)
        }),
        call("Format", "`0.1 Fall`", || "0.1 Fall".parse::<Plateau>()),
        call("Argument", "NaN", || Adam::new(&trainable()?, f64::NAN)),
        call("Argument", "-1", || Sgd::new(&trainable()?, -1.0)),
        call("NoGradient", "gradient", || {
            let p = params();
            p.parameter("x", [1], Init::Ones)?;
            let foreign = x(&[]).variable()?.exp()?.backward()?;
            Sgd::new(&p, 0.1)?.step(&foreign)
        }),
        call("Argument", "no such", || params().get("no such")),
        call("Argument", "chapter", || {
            gradus::labs::run("no chapter", &d, &Default::default(), &|_, _, _| {})
        }),
    ]);
}

#[test]
fn loss_scalers() {
    let mut scaler = LossScaler::default();
    check(vec![
        call("Argument", "scale 3", || LossScaler::new(3.0, 10)),
        call("Argument", "patience 0", || LossScaler::new(2.0, 0)),
    ]);
    let error = scaler.unscale(autodiff::Gradients::default()).unwrap_err();
    assert!(error.to_string().contains("no gradients"), "{error}");
}
