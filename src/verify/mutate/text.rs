//! What the source says at a span. Spans may be undefined or belong to another text; then nothing is found.

use naga::Span;

/// Snippets longer than this many characters are cut: a key is read by people.
const SNIPPET: usize = 80;

/// The number of the line on which `span` begins, from 1; 0 if it is not in `source`.
pub(super) fn line_number(source: &str, span: Span) -> u32 {
    let before = span.to_range().and_then(|range| source.get(..range.start));
    before.map_or(0, |before| before.matches('\n').count() as u32 + 1)
}

/// The line on which `span` begins, trimmed, without a trailing comment.
pub(super) fn source_line(source: &str, span: Span) -> &str {
    let Some((before, after)) = span.to_range().and_then(|range| source.split_at_checked(range.start)) else {
        return "";
    };
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let end = before.len() + after.find('\n').unwrap_or(after.len());
    let line = source.get(start..end).unwrap_or("");
    line.split("//").next().unwrap_or("").trim()
}

/// The text of `span` on one line. naga gives a call of a built-in the span of its name alone; the
/// arguments are added.
pub(super) fn snippet(source: &str, span: Span) -> Option<String> {
    let range = span.to_range()?;
    let text = source.get(range.clone())?;
    let is_name = !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_');
    let arguments = if is_name { arguments(source.get(range.end..)?) } else { "" };
    let words: Vec<&str> = text.split_whitespace().chain(arguments.split_whitespace()).collect();
    // A name and its argument list are not separate words, whatever the source puts between them.
    let line = if arguments.is_empty() { words.join(" ") } else { words.join(" ").replacen(" (", "(", 1) };
    match line.char_indices().nth(SNIPPET) {
        Some((cut, _)) => Some(format!("{}…", &line[..cut])),
        None => Some(line),
    }
}

/// The parenthesised list that `rest` begins with, or nothing.
fn arguments(rest: &str) -> &str {
    let list = rest.trim_start();
    if !list.starts_with('(') {
        return "";
    }
    let mut depth = 0u32;
    for (at, c) in list.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &list[..=at];
        }
    }
    ""
}
