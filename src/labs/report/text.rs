//! Text on its way into HTML: escaping, and the small markup that prose may use.

use super::math::Math;

/// Escapes text for element content and for double-quoted attributes.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters have no place in HTML; a tab or a line break is plain white space.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Turns prose into HTML: `$…$` is a formula ([`Math`]), `*…*` emphasis, `` `…` `` code; everything else is
/// escaped. Marks hug what they enclose, and emphasis begins between words, so `5 $ and 3*4` is plain text. A
/// backslash before `$`, `*` or `` ` `` makes it an ordinary character, as does a missing partner.
pub fn prose(text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['$', '*', '`', '\\']) {
        html.push_str(&escape(&rest[..at]));
        let mark = rest.as_bytes()[at];
        let after = &rest[at + 1..];
        if mark == b'\\' {
            let literal = after.starts_with(['$', '*', '`']);
            html.push_str(if literal { &after[..1] } else { "\\" });
            rest = &after[usize::from(literal)..];
            continue;
        }
        // Chinese is written without spaces, so there a mark opens anywhere.
        let spaced = |c: char| c.is_alphanumeric() && !('\u{3000}'..='\u{9fff}').contains(&c);
        let within_word = mark == b'*' && rest[..at].ends_with(spaced);
        let Some(end) = partner(after, char::from(mark)).filter(|_| !within_word) else {
            html.push(char::from(mark));
            rest = after;
            continue;
        };
        let inside = &after[..end];
        html.push_str(&match mark {
            b'$' => Math::inline(inside).html().to_owned(),
            b'*' => format!("<em>{}</em>", escape(inside)),
            _ => format!("<code>{}</code>", escape(inside)),
        });
        rest = &after[end + 1..];
    }
    html.push_str(&escape(rest));
    html
}

/// Where the mark that opened just before `text` closes: after something, and not after a space or a backslash.
fn partner(text: &str, mark: char) -> Option<usize> {
    let closes = |end: &usize| *end > 0 && !text[..*end].ends_with(|c: char| c.is_whitespace() || c == '\\');
    if text.starts_with(char::is_whitespace) || text.starts_with(mark) {
        return None;
    }
    text.match_indices(mark).map(|(end, _)| end).find(closes)
}

/// A whole number with thin spaces between its thousands.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && digits.len() > 4 && (digits.len() - i).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

/// A size with its SI prefix, to three digits: `si(6.2e10, "FLOP")` is `62.0 GFLOP`.
pub fn si(x: f64, unit: &str) -> String {
    let prefixes = ["", "k", "M", "G", "T", "P", "E"];
    let mut size = x;
    let mut step = 0;
    while size >= 999.5 && step + 1 < prefixes.len() {
        size /= 1000.0;
        step += 1;
    }
    let decimals = if step == 0 || size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else {
        2
    };
    format!("{size:.decimals$}\u{a0}{}{unit}", prefixes[step])
}

/// A duration for people: `84 ms`, `12.4 s`, `3 min 05 s`.
pub fn duration(seconds: f64) -> String {
    if seconds < 0.9995 {
        format!("{:.0}\u{a0}ms", seconds * 1e3)
    } else if seconds < 99.95 {
        format!("{seconds:.1}\u{a0}s")
    } else {
        let whole = seconds.round();
        format!("{:.0}\u{a0}min {:02.0}\u{a0}s", (whole / 60.0).floor(), whole % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_is_escaped_everywhere() {
        assert_eq!(escape("<a b='c'>&\"\u{7}"), "&lt;a b=&#39;c&#39;&gt;&amp;&quot; ");
        assert_eq!(prose("a <b> `<c>` *<d>*"), "a &lt;b&gt; <code>&lt;c&gt;</code> <em>&lt;d&gt;</em>");
        assert!(!prose("$<script>$").contains("<script"));
    }

    #[test]
    fn lonely_and_escaped_marks_stay() {
        assert_eq!(prose(r"5 $ and 3*4 and \$x\$ and \n"), r"5 $ and 3*4 and $x$ and \n");
        assert_eq!(prose("$$ ** ``"), "$$ ** ``");
        assert_eq!(prose("ends in \\"), "ends in \\");
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(count(14_210), "14\u{202f}210");
        assert_eq!(count(1234), "1234");
        assert_eq!(si(6.2e10, "FLOP"), "62.0\u{a0}GFLOP");
        assert_eq!(duration(0.084), "84\u{a0}ms");
        assert_eq!(duration(185.0), "3\u{a0}min 05\u{a0}s");
        assert_eq!(duration(f64::NAN), "NaN\u{a0}min NaN\u{a0}s");
    }
}
