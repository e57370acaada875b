//! The command line as a person or a script uses it.

mod common;

use std::process::{Command, Output};

fn gradus(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_gradus")).args(args).output().unwrap()
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| {
        panic!(
            "{e} in {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    })
}

#[test]
fn info_lists_the_adapters_and_says_which_it_would_use() {
    let all = json(&gradus(&["info", "--json"]));
    assert!(!all["adapters"].as_array().unwrap().is_empty(), "no adapter: run scripts/test.sh");
    assert!(all["chosen"].is_string());
    let cpu = json(&gradus(&["info", "--json", "--device", "cpu"]));
    assert_eq!(cpu["chosen"], "CPU reference");
    assert!(String::from_utf8_lossy(&gradus(&["info"]).stdout).contains("chosen:"));
}

#[test]
fn verify_prints_a_row_for_each_operation_and_way() {
    let device = common::adapter();
    let output = gradus(&["verify", "reshape", "--json", "--device", &device]);
    assert!(output.status.success());
    let rows = json(&output);
    assert_eq!(rows["failed"], 0);
    // An adapter that offers f16 has rows of that type as well.
    let single = rows["ops"].as_array().unwrap().iter().filter(|row| row["dtype"] == "f32");
    let ways: Vec<&str> = single.map(|row| row["direction"].as_str().unwrap()).collect();
    assert_eq!(ways, ["forward", "vjp", "jvp"]);
    assert!(!gradus(&["verify", "no case is called so", "--device", "cpu"]).status.success());
}

#[test]
fn what_cannot_be_done_is_said_and_exits_with_an_error() {
    let blocked = std::env::temp_dir().join(format!("gradus-cli-{}", std::process::id()));
    std::fs::write(&blocked, b"a file, not a folder").unwrap();
    let inside = blocked.join("report");
    for (args, expected) in [
        (vec!["verify", "--device", "no such adapter"], "no such adapter"),
        (vec!["lab", "--device", "99"], "there "),
        (vec!["lab", "alchemy", "--device", "cpu"], "Chapters: all, approximation"),
        (vec!["lab", "--device", "cpu", "--out", inside.to_str().unwrap()], "--out"),
        (vec!["lab", "--device", "cpu", "--data", "/nonexistent"], "/nonexistent"),
        (vec!["verify", "--mutate", "--device", "cpu"], "--device"),
    ] {
        let output = gradus(&args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {text}");
        assert!(text.contains("gradus: ") && text.contains(expected), "{args:?}: {text}");
    }
    let _ = std::fs::remove_file(blocked);
}

#[test]
fn bench_prints_what_others_read() {
    let output = gradus(&["bench", "matmul/64x784x256", "--device", "cpu", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let [row] = &rows.as_array().unwrap()[..] else { panic!("one row: {rows}") };
    assert_eq!(row["name"], "matmul/64x784x256");
    for field in ["first_s", "median_ms", "gflops", "gbps", "roofline_share"] {
        assert!(row[field].as_f64().unwrap() > 0.0, "{field} of {row}");
    }
    assert!(row["error"].as_f64().unwrap() < 1e-5, "{row}");
    assert!(row["dispatches"] == 0 && row["checked"] == true, "{row}");
    assert!(!gradus(&["bench", "no workload is called so", "--device", "cpu"]).status.success());
}

#[test]
fn bench_times_families_from_small_to_large() {
    let folder = std::env::temp_dir().join(format!("gradus-figures-{}", std::process::id()));
    let mut args = vec!["bench", "lstm", "--scaling", "--within", "0.05", "--device", "cpu", "--json"];
    args.extend(["--figures", folder.to_str().unwrap()]);
    let found = json(&gradus(&args));
    assert!(found["device"].is_string() && found["clock"].is_string() && found["checked"] == true, "{found}");
    let [family] = &found["families"].as_array().unwrap()[..] else { panic!("one family: {found}") };
    assert_eq!(family["name"], "lstm");
    assert!(family["slope"].is_number() && family["steep"].is_boolean(), "{family}");
    let points = family["points"].as_array().unwrap();
    assert!(points.len() >= 4, "{family}");
    for point in points {
        for field in ["size", "flop", "median_ms", "gflops"] {
            assert!(point[field].as_f64().unwrap() > 0.0, "{field} of {point}");
        }
    }
    let svg = std::fs::read_to_string(folder.join("scaling.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.contains("lstm, slope"));
    std::fs::remove_dir_all(folder).unwrap();
}

#[test]
fn bench_says_what_each_kernel_took() {
    let output = gradus(&["bench", "softmax/", "--kernels", "--no-errors", "--device", &common::adapter()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let row = text.lines().find(|line| line.contains("softmax/softmax.wgsl")).expect(&text);
    let [_, launches, milliseconds] = row.split_whitespace().collect::<Vec<_>>()[..] else { panic!("{row}") };
    assert_eq!(launches, "1");
    // A device without timestamps has no times, and says so by having no such line.
    assert!(milliseconds.parse::<f64>().unwrap() > 0.0, "{row}");
}

#[test]
fn mutants_that_survived_are_tried_again() {
    let file = std::env::temp_dir().join(format!("gradus-survivors-{}", std::process::id()));
    let survivor = "reduce/argmax.wgsl\tif value > best {#1 `value > best` > → >=\t\n";
    std::fs::write(&file, format!("the report of an earlier run\n{survivor}")).unwrap();
    let again = file.to_str().unwrap();
    let output = gradus(&["verify", "--mutate", "--again", again, "argmax", "--device", &common::adapter()]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 mutants: 1 killed"), "{text}{}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(file).unwrap();
}
