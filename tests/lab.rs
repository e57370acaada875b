//! The chapters from end to end on the adapter: every claim holds, fails without the mathematics that it needs,
//! and is told in both languages; the page is whole.

mod common;

use gradus::labs::claim::Tolerance;
use gradus::labs::report::Report;
use gradus::labs::{self, Language, Options};
use gradus::{Device, Result};
use std::collections::BTreeSet;
use std::path::Path;

fn run(chapter: &str, device: &Device, options: &Options) -> Result<Report> {
    labs::run(chapter, device, options, &|_, _, _| {})
}

fn only(id: &str) -> Options {
    Options { only: Some(id.to_owned()), ..Options::default() }
}

/// Runs everything once; what else there is to see in the report is looked at here as well.
#[test]
fn every_claim_holds() {
    let report = run("all", &common::gpu(), &Options::default()).unwrap();
    for claim in report.claims() {
        println!("{claim}");
    }
    let failed: Vec<String> = report.claims().filter(|c| !c.holds()).map(ToString::to_string).collect();
    assert!(report.holds() && failed.is_empty(), "{failed:#?}");

    let folder = std::env::temp_dir().join(format!("gradus-lab-{}", std::process::id()));
    report.write(&folder).unwrap();
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(!page.contains("cannot be drawn") && !page.contains("merror"), "a figure or formula is broken");
    let claims: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("claims.json")).unwrap()).unwrap();
    assert_eq!(claims.as_array().unwrap().len(), report.claims().count());
    assert!(claims.as_array().unwrap().iter().all(|c| c["holds"] == true && c["chapter"] != ""));
    let _ = std::fs::remove_dir_all(folder);

    let ids: Vec<&str> = report.claims().map(|claim| claim.id.as_str()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id is used twice: {ids:?}");
    pages_name_what_exists(&ids);
}

/// The pages of docs/chapters: one for each chapter, every claim on its page, every link to a file that is there.
fn pages_name_what_exists(ids: &[&str]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/chapters");
    for chapter in labs::chapters() {
        let path = folder.join(format!("{chapter}.md"));
        let page = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for target in page.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or("");
            let there = target.starts_with("https://") || file.is_empty() || folder.join(file).exists();
            assert!(there, "{chapter}.md links to {target}");
        }
        for word in page.split(|c: char| !c.is_alphanumeric() && c != '.').map(|word| word.trim_matches('.'))
        {
            let digits = word.trim_start_matches(['C', 'L', 'R']);
            let is_id = digits.len() + 1 == word.len()
                && digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
            let named = |id: &&str| *id == word || id.starts_with(&format!("{word}."));
            assert!(!is_id || ids.iter().any(named) || full_only(word), "{chapter}.md names {word}");
        }
        for (_, id) in labs::steps().filter(|step| step.0 == chapter) {
            assert!(page.contains(id), "{chapter}.md does not name {id}");
        }
    }
}

/// Whether a step of this id exists, though its claims may be measured under `--full` alone.
fn full_only(id: &str) -> bool {
    labs::steps().any(|(_, step)| step == id || id.starts_with(&format!("{step}.")))
}

#[test]
fn without_its_mathematics_a_claim_fails() {
    let device = common::gpu();
    let (mut names, mut held) = (BTreeSet::new(), Vec::new());
    for (chapter, piece, claim) in labs::ingredients() {
        assert!(names.insert(piece), "two pieces are called {piece}");
        let options = Options { without: Some(piece.to_owned()), ..only(claim) };
        let report = run(chapter, &device, &options).unwrap();
        let found =
            report.claims().find(|c| c.id == claim).unwrap_or_else(|| panic!("{chapter} has no {claim}"));
        println!("without {piece}: {found}");
        held.extend(found.holds().then(|| format!("without {piece} {found}")));
    }
    assert!(held.is_empty(), "{held:#?}");
    for chapter in labs::chapters() {
        assert!(labs::ingredients().any(|i| i.0 == chapter), "nothing can be taken out of {chapter}");
    }
}

/// The words of each chapter and of its first step, in Chinese.
#[test]
fn every_chapter_is_told_in_chinese() {
    let chinese = |text: &str| text.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
    for chapter in labs::chapters() {
        let (_, first) = labs::steps().find(|step| step.0 == chapter).unwrap();
        let options = Options { language: Language::Chinese, ..only(first) };
        let report = run(chapter, &common::gpu(), &options).unwrap();
        let told = &report.chapters[0];
        let theorems = told.theorems.iter().flat_map(|t| [&t.name, &t.statement]);
        let figures = told.figures.iter().flat_map(|f| [&f.title, &f.caption, &f.alt]);
        let claims = told.claims.iter().map(|c| &c.statement);
        let words = told.idea.iter().chain(&told.method).chain([&told.title]);
        for text in words.chain(theorems).chain(figures).chain(claims) {
            assert!(chinese(text), "{chapter}: {text}");
        }
        assert!(report.html().contains("<html lang=\"zh-Hans\">"));
    }
}

/// The same seed on both devices: measurements that agree within the claims' own tolerances.
#[test]
fn both_devices_measure_the_same() {
    let (gpu, cpu) = (common::gpu(), Device::cpu());
    let mut compared = 0;
    for (_, id) in labs::steps().filter(|step| step.0 == "convolution" && step.1 != "R8") {
        let [gpu, cpu] = [&gpu, &cpu].map(|device| run("convolution", device, &only(id)).unwrap());
        for (a, b) in gpu.claims().zip(cpu.claims()) {
            let parts = a.measured.numbers().iter().zip(b.measured.numbers()).enumerate();
            for (part, (&x, &y)) in parts {
                let close = match a.tolerance.at(part) {
                    Tolerance::Exact => x == y,
                    Tolerance::Absolute(limit) => (x - y).abs() <= *limit,
                    Tolerance::Relative(share) => (x - y).abs() <= share * y.abs(),
                    Tolerance::Between(low, high) => (x - y).abs() <= high - low,
                    // One-sided claims: by rounding.
                    _ => (x - y).abs() <= 1e-4 * y.abs(),
                };
                assert!(close, "{}: {x} and {y}", a.id);
                compared += 1;
            }
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn what_does_not_exist_is_an_error_that_lists_what_does() {
    let cpu = Device::cpu();
    let text = |chapter: &str, options: &Options| run(chapter, &cpu, options).unwrap_err().to_string();
    assert!(text("poetry", &Options::default()).contains("convolution"));
    assert!(text("convolution", &only("C9.1")).contains("C8.6"));
    let options = Options { without: Some("luck".into()), ..only("C8.1") };
    assert!(text("convolution", &options).contains("flip (C8.1)"));
}
