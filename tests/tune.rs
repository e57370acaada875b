//! `gradus tune` as a person uses it: what it keeps is found again, and what is not its own is ignored aloud.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn gradus(cache: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradus"))
        .args(args)
        .args(["--device", &common::adapter()])
        .env("GRADUS_CACHE", cache)
        .env("RUST_LOG", "gradus=info")
        .output()
        .unwrap()
}

/// What the log says of kept choices when a device is opened.
fn said(cache: &Path) -> String {
    let output = gradus(cache, &["bench", "matmul/64x784x256", "--no-errors"]);
    assert!(output.status.success());
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    log.lines().filter(|line| line.contains("kernels")).collect()
}

#[test]
fn choices_are_kept_and_found_again_and_what_is_not_ones_own_is_ignored_with_a_warning() {
    let cache = std::env::temp_dir().join(format!("gradus-tune-{}", std::process::id()));
    assert_eq!(said(&cache), "", "nobody tuned");

    let output = gradus(&cache, &["tune", "softmax/64x40", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let choices = found["choices"].as_array().unwrap();
    let softmax = choices.iter().find(|c| c["shape"] == "softmax 64 40 1").expect("softmax has variants");
    assert_eq!(softmax["trials"].as_array().unwrap().len(), 3);
    assert!(softmax["trials"].as_array().unwrap().iter().any(|trial| trial[0] == softmax["chosen"]));
    let path = PathBuf::from(found["file"].as_str().unwrap());
    assert_eq!(path.parent(), Some(&*cache));
    assert!(said(&cache).contains("are those of"), "{}", said(&cache));

    // Of another driver, then no such file at all.
    let text = std::fs::read_to_string(&path).unwrap();
    let mut foreign: serde_json::Value = serde_json::from_str(&text).unwrap();
    foreign["driver"] = "another".into();
    std::fs::write(&path, foreign.to_string()).unwrap();
    let log = said(&cache);
    assert!(log.contains("WARN") && log.contains("driver another") && log.contains("ignored"), "{log}");
    std::fs::write(&path, &text.as_bytes()[..text.len() / 2]).unwrap();
    let log = said(&cache);
    assert!(log.contains("WARN") && log.contains("damaged") && log.contains("ignored"), "{log}");
    // A choice that this version does not know is of no use, and no harm.
    let unknown =
        text.replace("\"choices\": {", "\"choices\": {\"matmul 1 64 784 256\": \"no such kernel\",");
    std::fs::write(&path, unknown.replace(",}", "}")).unwrap();
    assert!(said(&cache).contains("are those of"));
    std::fs::remove_dir_all(&cache).unwrap();
}

#[test]
fn what_cannot_be_tuned_is_said() {
    let cache = std::env::temp_dir().join(format!("gradus-tune-none-{}", std::process::id()));
    let output = gradus(&cache, &["tune", "no such workload"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("neither a shape nor"));
    let cpu = Command::new(env!("CARGO_BIN_EXE_gradus")).args(["tune", "--device", "cpu"]).output().unwrap();
    assert_eq!(cpu.status.code(), Some(1));
    assert!(!cache.exists());
}
