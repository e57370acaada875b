//! The page as a whole: everything escaped, nothing fetched, nothing silently wrong.

use super::*;
use crate::labs::claim::Tolerance;

const NASTY: &str = "<script>\"'&</script>";

fn chapter_of(panels: Vec<Panel>) -> Chapter {
    let mut chapter = Chapter::new(NASTY, NASTY);
    chapter.idea(NASTY).method(NASTY).theorem(Theorem::new(NASTY, NASTY).formula(NASTY).source(NASTY));
    chapter.claim(
        Claim::check(NASTY, NASTY, NASTY, NASTY, NASTY, Tolerance::Exact).parts([NASTY]).formula(NASTY),
    );
    chapter.cost(Cost { seconds: 0.0, flop: 0.0, dispatches: 0, device: NASTY.into() });
    for panel in panels {
        chapter.figure(Figure::new(NASTY, panel).caption(NASTY).alt(NASTY));
    }
    chapter
}

fn every_panel() -> Vec<Panel> {
    let axis = || Axis::new(NASTY).unit(NASTY);
    let points = [(0.0, 1.0), (f64::NAN, 2.0), (2.0, 3.0)];
    let plot = [Mark::Line, Mark::Dots, Mark::LineDots, Mark::Step, Mark::Bars].into_iter().fold(
        Plot::new(axis().ticks([(0.0, NASTY)]), axis()).rule(Rule::vertical(1.0, NASTY)),
        |plot, mark| {
            plot.series(Series { mark, ..Series::line(NASTY, points) }.errors([0.1; 3]).band([(0.0, 4.0); 3]))
        },
    );
    let few =
        HeatMap::new(1, 2, [1.0, 2.0]).axes(NASTY, NASTY).names([NASTY], [NASTY; 2]).printed().bar(NASTY);
    let many = HeatMap::new(20, 20, (0..400).map(f64::from)).signed().circle(0.0, 0.0, 3.0, NASTY);
    let grid = ImageGrid::new([Picture::ink(1, 1, [9], NASTY), Picture::signed(1, 1, &[-0.5], NASTY)]);
    let table = Table::new([NASTY]).row([NASTY]);
    vec![plot.into(), few.into(), many.into(), grid.into(), table.into()]
}

/// Whether every tag that opens also closes, in order; enough to catch a forgotten or an unescaped one.
fn well_formed(html: &str) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let body = html.split_once("<body>").map_or(html, |(_, body)| body);
    for tag in body.split('<').skip(1) {
        let (tag, _) = tag.split_once('>').ok_or(format!("unfinished <{tag}"))?;
        let name = tag.trim_start_matches('/').split([' ', '/']).next().unwrap_or("");
        if tag.starts_with('/') {
            let last = open.pop();
            if last != Some(name) && name != "body" && name != "html" {
                return Err(format!("</{name}> closes {last:?}"));
            }
        } else if !tag.ends_with('/') && !["img", "br", "meta"].contains(&name) {
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("never closed: {open:?}")) }
}

#[test]
fn hostile_text_is_escaped_on_every_path() {
    let report = Report::new(NASTY, NASTY, 7).lede(NASTY).fact(NASTY, NASTY);
    let report = report.chapter(chapter_of(every_panel())).chapter(chapter_of(vec![]));
    let html = report.html();
    assert!(!html.contains("<script"));
    assert_eq!(well_formed(&html), Ok(()));
}

#[test]
fn the_page_stands_alone() {
    let html = Report::new("t", "d", 0).chapter(chapter_of(every_panel())).html();
    for reference in ["src=\"", "href=\""] {
        for (at, _) in html.match_indices(reference) {
            let target = &html[at + reference.len()..];
            assert!(target.starts_with("data:image/png") || target.starts_with('#'), "{}", &target[..20]);
        }
    }
    assert!(!html.contains("@import") && !html.contains("http://") && !html.contains("https://"));
}

#[test]
fn a_failed_claim_shows_in_words() {
    let report = |measured| {
        let mut chapter = Chapter::new("c", "C");
        chapter.claim(Claim::check("C.1", "s", "", 1.0, measured, Tolerance::Absolute(0.5)));
        Report::new("t", "d", 0).chapter(chapter)
    };
    assert!(report(1.2).html().contains("<b>1 of 1</b> claims hold<small>") && report(1.2).holds());
    assert!(report(f64::NAN).html().contains("<b>0 of 1</b> claims hold; one does not"));
    assert!(!report(f64::NAN).holds() && report(2.0).html().contains("</span>fails</span>"));
    assert!(!Report::new("t", "d", 0).holds(), "nothing checked is nothing held");
}

#[test]
fn a_wrong_figure_is_named_on_the_page_and_by_write() {
    let mut chapter = Chapter::new("c", "C");
    chapter.figure(Figure::new("crooked", HeatMap::new(2, 2, [1.0])));
    let report = Report::new("t", "d", 0).chapter(chapter);
    assert!(report.html().contains("cannot be drawn: 1 values for a map of 2 × 2"));
    let dir = std::env::temp_dir().join(format!("gradus-report-{}", std::process::id()));
    let error = report.write(&dir).unwrap_err();
    assert!(error.to_string().contains("crooked") && dir.join("report.html").exists());
    assert_eq!(fs::read_to_string(dir.join("claims.json")).unwrap(), "[]\n");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn lost_points_are_counted() {
    let plot =
        Plot::new(Axis::new("x").log(), Axis::new("y")).series(Series::line("s", [(0.0, 1.0), (1.0, 1.0)]));
    let mut chapter = Chapter::new("c", "C");
    chapter.figure(Figure::new("f", plot));
    assert!(Report::new("t", "d", 0).chapter(chapter).html().contains("1 point has no place"));
}

#[test]
fn a_plot_is_a_file_of_its_own() {
    let plot = every_panel().into_iter().find_map(|panel| match panel {
        Panel::Plot(plot) => Some(plot),
        _ => None,
    });
    let svg = plot.unwrap().svg(NASTY, 480.0, 320.0);
    assert_eq!(well_formed(&svg), Ok(()));
    assert!(
        !svg.contains("<script") && svg.matches("://").count() == 1,
        "nothing but the name of the format"
    );
    assert!(svg.starts_with("<svg xmlns") && svg.contains("aria-label=\"&lt;script"));
}
