//! The page around the figures.

use std::fmt::Write;

use super::chart;
use super::math::Math;
use super::text::{count, duration, escape, prose, si};
use super::words::Words;
use super::{Chapter, Cost, Figure, Panel, Report, Table, Theorem};
use crate::labs::claim::{Claim, Tolerance, Value};

/// Parts of a list that the summary shows before it says how many more there are.
const SUMMARY_PARTS: usize = 6;

/// The whole document.
pub(super) fn page(report: &Report) -> String {
    let words = Words::of(report.language);
    let (title, tag, footer) = (escape(&report.title), words.tag, words.footer);
    let style = concat!(include_str!("chart.css"), include_str!("style.css"));
    let mut html = format!(
        "<!doctype html>\n<html lang=\"{tag}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
         <title>{title}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
    );
    header(&mut html, report, words);
    html.push_str("<main>\n");
    summary(&mut html, report, words);
    for (i, chapter) in report.chapters.iter().enumerate() {
        section(&mut html, i, chapter, words);
    }
    let _ = writeln!(html, "</main>\n<footer><p>{footer}</p></footer>\n</body>\n</html>");
    html
}

fn header(html: &mut String, report: &Report, words: &Words) {
    let _ = write!(html, "<header>\n<h1>{}</h1>\n", escape(&report.title));
    if !report.lede.is_empty() {
        let _ = writeln!(html, "<p class=\"lede\">{}</p>", prose(&report.lede));
    }
    let total = report.claims().count();
    let held = report.claims().filter(|claim| claim.holds()).count();
    let verdict = words.held(held, total);
    let (numbers, state) = match total {
        0 => (String::new(), "bad"),
        _ => (format!("<b>{}</b> ", words.of_all(held, total)), if held == total { "good" } else { "bad" }),
    };
    let _ = write!(html, "<p class=\"verdict {state}\">{numbers}{verdict}");
    let _ = write!(html, "<small>{}</small></p>\n<dl class=\"facts\">", escape(&words.on(&report.device)));
    let mut fact = |name: &str, value: &str| {
        let _ = write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escape(name), escape(value));
    };
    fact(words.seed, &report.seed.to_string());
    for (name, value) in &report.facts {
        fact(name, value);
    }
    let costs = || report.chapters.iter().filter_map(|chapter| chapter.cost.as_ref());
    if costs().next().is_some() {
        fact(words.time, &duration(costs().map(|cost| cost.seconds).sum()));
        fact(words.arithmetic, &si(costs().map(|cost| cost.flop).sum(), "FLOP"));
    }
    html.push_str("</dl>\n");
    if report.chapters.len() > 1 {
        let _ = write!(html, "<nav aria-label=\"{}\"><ol>", words.chapters);
        for chapter in &report.chapters {
            let (held, total) =
                (chapter.claims.iter().filter(|claim| claim.holds()).count(), chapter.claims.len());
            let (anchor, title, held) =
                (slug(&chapter.name), escape(&chapter.title), words.of_all(held, total));
            let _ = write!(html, "<li><a href=\"#{anchor}\">{title}</a> <span>{held}</span></li>");
        }
        html.push_str("</ol></nav>\n");
    }
    html.push_str("</header>\n");
}

/// Every claim in one table; on a narrow page each row becomes a card.
fn summary(html: &mut String, report: &Report, words: &Words) {
    if report.claims().next().is_none() {
        return;
    }
    // The roles keep the table a table where the style sheet lays its rows out as cards.
    let _ = write!(
        html,
        "<section class=\"summary\" aria-label=\"{}\">\n\
         <table role=\"table\"><thead role=\"rowgroup\"><tr role=\"row\">",
        words.all_claims
    );
    let Words { claim, statement, predicted, measured, tolerance, verdict, .. } = *words;
    for head in [claim, statement, predicted, measured, tolerance, verdict] {
        let _ = write!(html, "<th role=\"columnheader\" scope=\"col\">{head}</th>");
    }
    html.push_str("</tr></thead>\n");
    for chapter in report.chapters.iter().filter(|chapter| !chapter.claims.is_empty()) {
        html.push_str("<tbody role=\"rowgroup\">");
        if report.chapters.len() > 1 {
            let title = escape(&chapter.title);
            let _ = write!(
                html,
                "<tr class=\"chapter\" role=\"row\"><th colspan=\"6\" scope=\"rowgroup\" role=\"rowheader\">{title}</th></tr>"
            );
        }
        for claim in &chapter.claims {
            let tolerances: Vec<String> = match &claim.tolerance {
                Tolerance::Each(each) => each.iter().map(|one| words.tolerance_of(one)).collect(),
                one => vec![words.tolerance_of(one)],
            };
            let state = if claim.holds() { "" } else { " class=\"failed\"" };
            let (id, anchor, statement) = (escape(&claim.id), slug(&claim.id), escape(&claim.statement));
            let _ = write!(
                html,
                "\n<tr{state} role=\"row\"><th role=\"rowheader\" scope=\"row\">\
                 <a href=\"#{anchor}\">{id}</a></th><td role=\"cell\" class=\"statement\">{statement}</td>"
            );
            for (name, parts) in [
                (words.predicted, claim.prediction()),
                (words.measured, claim.measured.shown()),
                (words.tolerance, tolerances),
            ] {
                let _ = write!(
                    html,
                    "<td role=\"cell\" class=\"value\" data-name=\"{name}\">{}</td>",
                    stacked(&parts, words)
                );
            }
            let _ = write!(html, "<td role=\"cell\" class=\"badges\">{}</td></tr>", badge(claim, words));
        }
        html.push_str("</tbody>\n");
    }
    html.push_str("</table>\n</section>\n");
}

/// Parts of a value, a line each; long lists are cut short, words may wrap.
fn stacked(parts: &[String], words: &Words) -> String {
    if parts.is_empty() {
        return format!("<span>{}</span>", words.none);
    }
    let shown = if parts.len() > SUMMARY_PARTS { SUMMARY_PARTS - 1 } else { parts.len() };
    let mut html: String =
        parts[..shown].iter().map(|part| format!("<span>{}</span>", escape(part))).collect();
    if parts.len() > shown {
        let _ = write!(html, "<span class=\"more\">{}</span>", words.more(parts.len() - shown));
    }
    html
}

/// The verdict, as a word with a sign.
fn badge(claim: &Claim, words: &Words) -> String {
    let (class, sign, word) =
        if claim.holds() { ("holds", '✓', words.holds) } else { ("fails", '✗', words.fails) };
    format!("<span class=\"badge {class}\"><span aria-hidden=\"true\">{sign} </span>{word}</span>")
}

fn section(html: &mut String, i: usize, chapter: &Chapter, words: &Words) {
    let (anchor, title) = (slug(&chapter.name), escape(&chapter.title));
    let _ =
        write!(html, "<section class=\"chapter\" id=\"{anchor}\">\n<h2>{title}</h2>\n<div class=\"text\">\n");
    for paragraph in &chapter.idea {
        let _ = writeln!(html, "<p>{}</p>", prose(paragraph));
    }
    html.push_str("</div>\n");
    if !chapter.theorems.is_empty() {
        html.push_str("<div class=\"theorems\">\n");
        for stated in &chapter.theorems {
            theorem(html, stated);
        }
        html.push_str("</div>\n");
    }
    if !chapter.figures.is_empty() {
        let _ = writeln!(html, "<h3>{}</h3>\n<div class=\"figures\">", words.seen);
        for (j, shown) in chapter.figures.iter().enumerate() {
            figure(html, &format!("c{i}f{j}"), shown, words);
        }
        html.push_str("</div>\n");
    }
    if !chapter.claims.is_empty() {
        let _ = writeln!(html, "<h3>{}</h3>\n<div class=\"claims\">", words.claimed);
        for claim in &chapter.claims {
            card(html, claim, words);
        }
        html.push_str("</div>\n");
    }
    if !chapter.method.is_empty() || chapter.cost.is_some() {
        let _ = writeln!(html, "<h3>{}</h3>\n<div class=\"text\">", words.method);
        for paragraph in &chapter.method {
            let _ = writeln!(html, "<p>{}</p>", prose(paragraph));
        }
        if let Some(spent) = &chapter.cost {
            cost(html, spent, words);
        }
        html.push_str("</div>\n");
    }
    html.push_str("</section>\n");
}

fn theorem(html: &mut String, theorem: &Theorem) {
    let (name, statement) = (escape(&theorem.name), prose(&theorem.statement));
    let _ = write!(html, "<div class=\"theorem\"><h4>{name}</h4><p>{statement}</p>");
    for formula in &theorem.formulas {
        let _ = write!(html, "<div class=\"formula\">{}</div>", formula.html());
    }
    source(html, &theorem.source);
    html.push_str("</div>\n");
}

fn source(html: &mut String, source: &str) {
    if !source.is_empty() {
        let _ = write!(html, "<p class=\"source\">{}</p>", escape(source));
    }
}

/// One claim with every part of its prediction.
fn card(html: &mut String, claim: &Claim, words: &Words) {
    let (id, anchor, statement) = (escape(&claim.id), slug(&claim.id), escape(&claim.statement));
    let state = if claim.holds() { "" } else { " failed" };
    let _ = write!(
        html,
        "<article class=\"claim{state}\" id=\"{anchor}\"><header><h4>{id}</h4>{}</header>",
        badge(claim, words)
    );
    let _ = write!(html, "<p>{statement}</p>");
    if let Some(formula) = &claim.formula {
        let _ = write!(html, "<div class=\"formula\">{}</div>", Math::display(formula).html());
    }
    let (predicted, measured) = (claim.prediction(), claim.measured.shown());
    let rows = predicted.len().max(measured.len()).max(claim.parts.len());
    let named = !claim.parts.is_empty();
    let _ = write!(html, "<div class=\"scroll\"><table><thead><tr>{}", if named { "<td></td>" } else { "" });
    for head in [words.predicted, words.measured, words.tolerance] {
        let _ = write!(html, "<th scope=\"col\">{head}</th>");
    }
    html.push_str("</tr></thead><tbody>");
    // One prediction may stand for all measurements; a missing part is shown as missing.
    let shared = predicted.len() == 1;
    let missing = "–".to_owned();
    for row in 0..rows {
        let predicted = predicted.get(if shared { 0 } else { row }).unwrap_or(&missing);
        let measured = measured.get(row).unwrap_or(&missing);
        let part = claim.parts.get(row).map_or("", String::as_str);
        html.push_str("<tr>");
        if named {
            let _ = write!(html, "<th scope=\"row\">{}</th>", escape(part));
        }
        let (predicted, measured) = (escape(predicted), escape(measured));
        let tolerance = escape(&words.tolerance_of(claim.tolerance.at(row)));
        let class = |value: &Value| if matches!(value, Value::Text(_)) { " class=\"words\"" } else { "" };
        let (p, m) = (class(&claim.predicted), class(&claim.measured));
        let _ = write!(
            html,
            "<td{p}>{predicted}</td><td{m}><strong>{measured}</strong></td><td>{tolerance}</td></tr>"
        );
    }
    html.push_str("</tbody></table></div>");
    source(html, &claim.source);
    html.push_str("</article>\n");
}

fn figure(html: &mut String, key: &str, figure: &Figure, words: &Words) {
    let wide = if figure.wide { " class=\"wide\"" } else { "" };
    let alt = if figure.alt.is_empty() { &figure.title } else { &figure.alt };
    let _ = write!(html, "<figure{wide}><h4>{}</h4>", escape(&figure.title));
    html.push_str(&match (figure.panel.defect(), &figure.panel) {
        (Some(defect), _) => {
            format!("<p class=\"warning\">{}</p>", escape(&words.undrawn(&defect)))
        }
        (None, Panel::Plot(plot)) => chart::draw(plot, alt),
        (None, Panel::Heat(map)) => map.draw(key, alt),
        (None, Panel::Images(grid)) => grid.draw(alt),
        (None, Panel::Table(rows)) => table(rows, alt),
    });
    if !figure.caption.is_empty() {
        let _ = write!(html, "<figcaption>{}</figcaption>", prose(&figure.caption));
    }
    html.push_str("</figure>\n");
}

fn table(table: &Table, alt: &str) -> String {
    let reads_as_number = |cell: &String| {
        let mut chars = cell.chars().filter(|c| !c.is_whitespace());
        let first = chars.next();
        first.is_none_or(|c| c.is_ascii_digit() || "−-+±<>≤≥–".contains(c))
    };
    let class = |column: usize| {
        let numeric = table.rows.iter().filter_map(|row| row.get(column)).all(reads_as_number);
        if numeric && !table.rows.is_empty() { " class=\"number\"" } else { "" }
    };
    let mut html = format!(
        "<div class=\"scroll\" tabindex=\"0\"><table class=\"plain\" aria-label=\"{}\"><thead><tr>",
        escape(alt)
    );
    for (i, head) in table.head.iter().enumerate() {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", class(i), prose(head));
    }
    html.push_str("</tr></thead><tbody>");
    for row in &table.rows {
        html.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let _ = write!(html, "<td{}>{}</td>", class(i), prose(cell));
        }
        html.push_str("</tr>");
    }
    html.push_str("</tbody></table></div>");
    html
}

fn cost(html: &mut String, cost: &Cost, words: &Words) {
    let rate = cost.flop / cost.seconds;
    let mut facts = vec![(words.time, duration(cost.seconds)), (words.arithmetic, si(cost.flop, "FLOP"))];
    if rate.is_finite() {
        facts.push((words.rate, si(rate, "FLOP/s")));
    }
    facts.push((words.dispatches, count(cost.dispatches)));
    facts.push((words.device, cost.device.clone()));
    html.push_str("<dl class=\"facts\">");
    for (name, value) in facts {
        let _ = write!(html, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(&value));
    }
    html.push_str("</dl>\n");
}

/// An anchor from a name: letters and digits, everything else a hyphen.
fn slug(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}
