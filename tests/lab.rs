//! The convolution chapter from end to end on the adapter: every claim holds and the page is whole.

mod common;

use gradus::labs::{Options, run};

#[test]
fn every_claim_of_the_convolution_chapter_holds() {
    let report = run("convolution", &common::gpu(), &Options::default(), &|_, _, _| {}).unwrap();
    for claim in report.claims() {
        println!("{claim}");
    }
    assert!(report.holds());
    let folder = std::env::temp_dir().join(format!("gradus-lab-{}", std::process::id()));
    report.write(&folder).unwrap();
    let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(!page.contains("cannot be drawn") && !page.contains("merror"), "a figure or formula is broken");
    let claims: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("claims.json")).unwrap()).unwrap();
    assert_eq!(claims.as_array().unwrap().len(), report.claims().count());
    assert!(claims.as_array().unwrap().iter().all(|c| c["holds"] == true && c["chapter"] == "convolution"));
    let _ = std::fs::remove_dir_all(folder);
}
