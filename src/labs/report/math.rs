//! Formulas: a small subset of TeX, turned into MathML.
//!
//! Letters, digits, operators and any Unicode character stand for themselves. `^`, `_` and `{…}` work as in
//! TeX, and so do `\frac`, `\sqrt`, `\hat`, `\bar`, `\tilde`, `\dot`, `\vec`, `\text`, `\mathbf`, `\operatorname`,
//! `\left … \right`, `\quad`, `\,`, `\|`, the Greek letters, and the usual names (`\ln`, `\max`, `\sum`, `\le`, …).
//! Unicode is the shorter way where a keyboard has it: `σ` and `\sigma` give the same. A command it does not know
//! stays visible.

use super::text::escape;

/// A formula as MathML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Math(String);

impl Math {
    /// A formula within a line of text.
    pub fn inline(tex: &str) -> Self {
        Self::wrap(tex, "")
    }

    /// A formula on a line of its own.
    pub fn display(tex: &str) -> Self {
        Self::wrap(tex, " display=\"block\"")
    }

    /// MathML written by hand, a whole `<math>` element. It goes into the page as it stands: never pass text
    /// that came from outside the program.
    pub fn trusted(mathml: impl Into<String>) -> Self {
        Self(mathml.into())
    }

    /// The `<math>` element.
    pub fn html(&self) -> &str {
        &self.0
    }

    fn wrap(tex: &str, attributes: &str) -> Self {
        let mut parser = Parser { rest: tex, operand_before: false };
        let mut body = parser.row(&[]);
        while !parser.rest.is_empty() {
            // A stray closing brace: shown, not swallowed.
            body.push_str(&format!("<mo>{}</mo>", escape(&parser.rest[..1])));
            parser.rest = &parser.rest[1..];
            body.push_str(&parser.row(&[]));
        }
        Self(format!("<math{attributes} alttext=\"{}\"><mrow>{body}</mrow></math>", escape(tex)))
    }
}

/// One atom, and whether a script under it belongs below (as for a sum) rather than beside.
struct Atom {
    mathml: String,
    limits: bool,
    function: bool,
}

struct Parser<'a> {
    rest: &'a str,
    /// Whether an operand precedes, so that a minus sign is a difference and not a negation.
    operand_before: bool,
}

impl<'a> Parser<'a> {
    /// Atoms up to a closing brace or one of `stops`.
    fn row(&mut self, stops: &[&str]) -> String {
        let mut row = String::new();
        self.operand_before = false;
        loop {
            self.rest = self.rest.trim_start();
            let ended = self.rest.is_empty() || self.rest.starts_with('}');
            if ended || stops.iter().any(|stop| self.rest.starts_with(stop)) {
                return row;
            }
            row.push_str(&self.scripted());
        }
    }

    fn scripted(&mut self) -> String {
        let base = self.atom();
        let (mut below, mut above) = (None, None);
        loop {
            let rest = self.rest.trim_start();
            let operand_before = self.operand_before;
            if rest.starts_with('_') && below.is_none() {
                self.rest = &rest[1..];
                below = Some(self.argument());
            } else if rest.starts_with('^') && above.is_none() {
                self.rest = &rest[1..];
                above = Some(self.argument());
            } else if rest.starts_with('\'') && above.is_none() {
                self.rest = &rest[1..];
                above = Some("<mo>′</mo>".to_owned());
            } else {
                break;
            }
            self.operand_before = operand_before;
        }
        let Atom { mathml, limits, function } = base;
        let mut scripted = match (below, above) {
            (None, None) => mathml,
            (Some(b), None) => tag(if limits { "munder" } else { "msub" }, &[&mathml, &b]),
            (None, Some(a)) => tag(if limits { "mover" } else { "msup" }, &[&mathml, &a]),
            (Some(b), Some(a)) => tag(if limits { "munderover" } else { "msubsup" }, &[&mathml, &b, &a]),
        };
        if function && self.operand_follows() {
            scripted.push_str("<mspace width=\"0.17em\"/>");
        }
        scripted
    }

    /// Whether what comes next is a letter, a number or a construction, rather than a sign or a parenthesis.
    fn operand_follows(&self) -> bool {
        let next = self.rest.trim_start();
        let Some(command) = next.strip_prefix('\\') else { return next.starts_with(char::is_alphanumeric) };
        let name = command.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or("");
        let symbol = SYMBOLS.iter().find(|(known, _)| *known == name);
        symbol.map_or(!["", "left", "right", "quad"].contains(&name), |(_, c)| c.is_alphabetic())
    }

    /// A braced group or a single atom, as one element.
    fn argument(&mut self) -> String {
        self.rest = self.rest.trim_start();
        if let Some(rest) = self.rest.strip_prefix('{') {
            self.rest = rest;
            let row = self.row(&[]);
            self.rest = self.rest.strip_prefix('}').unwrap_or(self.rest);
            self.operand_before = true;
            return format!("<mrow>{row}</mrow>");
        }
        if self.rest.is_empty() || self.rest.starts_with('}') {
            return "<mrow></mrow>".to_owned();
        }
        self.operand_before = false;
        self.atom().mathml
    }

    fn atom(&mut self) -> Atom {
        let Some(c) = self.rest.chars().next() else { return plain(String::new()) };
        if c == '{' {
            return plain(self.argument());
        }
        if c == '\\' {
            return self.command();
        }
        let after = &self.rest[c.len_utf8()..];
        let decimal = c == '.' && after.starts_with(|d: char| d.is_ascii_digit());
        if c.is_ascii_digit() || decimal {
            let is_part = |d: char| d.is_ascii_digit() || d == '.';
            let mut end = self.rest.find(|d| !is_part(d)).unwrap_or(self.rest.len());
            // A full stop that ends the sentence is not part of the number.
            end -= usize::from(self.rest[..end].ends_with('.'));
            let digits = &self.rest[..end];
            self.rest = &self.rest[end..];
            self.operand_before = true;
            return plain(format!("<mn>{digits}</mn>"));
        }
        self.rest = after;
        plain(self.symbol(c))
    }

    fn symbol(&mut self, c: char) -> String {
        let negation = !self.operand_before;
        self.operand_before =
            c.is_alphanumeric() || matches!(c, ')' | ']' | '∞' | '…' | '⋯' | '|' | '‖' | '⟩');
        match c {
            // Greek capitals stand upright, as mathematicians print them.
            'Α'..='Ω' | '∂' | '∇' | '∞' | '…' | '⋯' | '∅' | '°' => {
                format!("<mi mathvariant=\"normal\">{c}</mi>")
            }
            '-' | '−' if negation => "<mo form=\"prefix\">−</mo>".to_owned(),
            '+' | '±' if negation => format!("<mo form=\"prefix\">{c}</mo>"),
            '-' => "<mo>−</mo>".to_owned(),
            '*' => "<mo>∗</mo>".to_owned(),
            '(' | ')' | '[' | ']' | '⟨' | '⟩' | '⌊' | '⌋' | '⌈' | '⌉' => {
                format!("<mo stretchy=\"false\">{c}</mo>")
            }
            '|' | '‖' | '/' => format!("<mo stretchy=\"false\" lspace=\"0\" rspace=\"0\">{c}</mo>"),
            ':' => "<mo lspace=\"0.28em\" rspace=\"0.28em\">:</mo>".to_owned(),
            c if c.is_alphabetic() => format!("<mi>{c}</mi>"),
            c => format!("<mo>{}</mo>", escape(c.encode_utf8(&mut [0; 4]))),
        }
    }

    fn command(&mut self) -> Atom {
        let body = &self.rest[1..];
        let letters = body.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(body.len());
        let end = if letters > 0 { letters } else { body.chars().next().map_or(0, char::len_utf8) };
        let name = &body[..end];
        self.rest = &body[end..];
        let accent = |mark: &str, inside: String| {
            plain(format!("<mover accent=\"true\">{inside}<mo stretchy=\"false\">{mark}</mo></mover>"))
        };
        match name {
            "frac" => {
                let (above, below) = (self.argument(), self.argument());
                plain(tag("mfrac", &[&above, &below]))
            }
            "sqrt" => plain(tag("msqrt", &[&self.argument()])),
            "hat" => accent("^", self.argument()),
            "bar" => accent("¯", self.argument()),
            "tilde" => accent("~", self.argument()),
            "dot" => accent("˙", self.argument()),
            "vec" => accent("→", self.argument()),
            "text" | "operatorname" | "mathrm" => {
                let words = escape(self.verbatim());
                self.operand_before = true;
                if name == "text" {
                    return plain(format!("<mtext>{words}</mtext>"));
                }
                Atom {
                    mathml: format!("<mi mathvariant=\"normal\">{words}</mi>"),
                    limits: false,
                    function: true,
                }
            }
            "mathbf" => plain(format!("<mi style=\"font-weight:bold\">{}</mi>", escape(self.verbatim()))),
            "left" => {
                let open = self.fence();
                let row = self.row(&["\\right"]);
                self.rest = self.rest.strip_prefix("\\right").unwrap_or(self.rest);
                let close = self.fence();
                self.operand_before = true;
                plain(format!("<mrow>{open}{row}{close}</mrow>"))
            }
            "," => plain("<mspace width=\"0.17em\"/>".to_owned()),
            "quad" => plain("<mspace width=\"1em\"/>".to_owned()),
            "|" => plain(self.symbol('‖')),
            "{" | "}" | "_" | "$" | "%" => plain(format!("<mo stretchy=\"false\">{name}</mo>")),
            "ln" | "log" | "exp" | "cos" | "sin" | "tanh" | "arccos" | "det" | "tr" | "diag" | "var"
            | "relu" => {
                self.operand_before = false;
                Atom { mathml: format!("<mi>{name}</mi>"), limits: false, function: true }
            }
            "max" | "min" | "sup" | "inf" | "lim" => {
                self.operand_before = false;
                let mathml = format!("<mo movablelimits=\"true\" form=\"prefix\" rspace=\"0\">{name}</mo>");
                Atom { mathml, limits: true, function: true }
            }
            "sum" | "prod" => {
                self.operand_before = false;
                let sign = if name == "sum" { '∑' } else { '∏' };
                Atom {
                    mathml: format!("<mo movablelimits=\"true\">{sign}</mo>"),
                    limits: true,
                    function: false,
                }
            }
            _ => match SYMBOLS.iter().find(|(known, _)| *known == name) {
                Some((_, c)) => plain(self.symbol(*c)),
                None => plain(format!("<merror><mtext>\\{}</mtext></merror>", escape(name))),
            },
        }
    }

    /// The raw text of a braced group.
    fn verbatim(&mut self) -> &'a str {
        let Some(body) = self.rest.trim_start().strip_prefix('{') else { return "" };
        let end = body.find('}').unwrap_or(body.len());
        self.rest = body.get(end + 1..).unwrap_or("");
        &body[..end]
    }

    /// A fence that grows with what it encloses; `.` is none.
    fn fence(&mut self) -> String {
        let rest = self.rest.trim_start();
        let Some(c) = rest.chars().next() else { return String::new() };
        self.rest = &rest[c.len_utf8()..];
        if c == '.' { String::new() } else { format!("<mo fence=\"true\">{}</mo>", escape(&c.to_string())) }
    }
}

fn plain(mathml: String) -> Atom {
    let limits = mathml == "<mo>∑</mo>" || mathml == "<mo>∏</mo>";
    Atom { mathml, limits, function: false }
}

fn tag(name: &str, children: &[&str]) -> String {
    format!("<{name}>{}</{name}>", children.concat())
}

const SYMBOLS: [(&str, char); 58] = [
    ("alpha", 'α'),
    ("beta", 'β'),
    ("gamma", 'γ'),
    ("delta", 'δ'),
    ("epsilon", 'ε'),
    ("zeta", 'ζ'),
    ("eta", 'η'),
    ("theta", 'θ'),
    ("kappa", 'κ'),
    ("lambda", 'λ'),
    ("mu", 'μ'),
    ("nu", 'ν'),
    ("xi", 'ξ'),
    ("pi", 'π'),
    ("rho", 'ρ'),
    ("sigma", 'σ'),
    ("tau", 'τ'),
    ("phi", 'φ'),
    ("chi", 'χ'),
    ("psi", 'ψ'),
    ("omega", 'ω'),
    ("Gamma", 'Γ'),
    ("Delta", 'Δ'),
    ("Theta", 'Θ'),
    ("Lambda", 'Λ'),
    ("Sigma", 'Σ'),
    ("Phi", 'Φ'),
    ("Psi", 'Ψ'),
    ("Omega", 'Ω'),
    ("le", '≤'),
    ("ge", '≥'),
    ("ne", '≠'),
    ("approx", '≈'),
    ("sim", '∼'),
    ("equiv", '≡'),
    ("propto", '∝'),
    ("in", '∈'),
    ("to", '→'),
    ("mapsto", '↦'),
    ("times", '×'),
    ("cdot", '·'),
    ("odot", '⊙'),
    ("otimes", '⊗'),
    ("circ", '∘'),
    ("ast", '∗'),
    ("star", '⋆'),
    ("pm", '±'),
    ("partial", '∂'),
    ("nabla", '∇'),
    ("infty", '∞'),
    ("dots", '…'),
    ("cdots", '⋯'),
    ("langle", '⟨'),
    ("rangle", '⟩'),
    ("top", '⊤'),
    ("int", '∫'),
    ("ell", 'ℓ'),
    ("forall", '∀'),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn body(tex: &str) -> String {
        let html = Math::inline(tex).0;
        let (_, inside) = html.split_once("<mrow>").unwrap();
        inside.strip_suffix("</mrow></math>").unwrap().to_owned()
    }

    #[test]
    fn scripts_fractions_and_roots() {
        assert_eq!(body("x_i^2"), "<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>");
        assert_eq!(body(r"\frac{1}{n}"), "<mfrac><mrow><mn>1</mn></mrow><mrow><mi>n</mi></mrow></mfrac>");
        assert_eq!(body(r"\sqrt L"), "<msqrt><mi>L</mi></msqrt>");
        assert!(body(r"\sum_{k}^n a").starts_with("<munderover><mo movablelimits"));
    }

    #[test]
    fn a_function_keeps_its_distance_from_letters_only() {
        assert!(body(r"\ln x").contains("mspace") && body(r"\ln \sigma").contains("mspace"));
        assert!(!body(r"\ln(x)").contains("mspace") && !body(r"\max \le 1").contains("mspace"));
    }

    #[test]
    fn a_minus_is_a_negation_only_without_an_operand_before() {
        assert_eq!(body("-x"), "<mo form=\"prefix\">−</mo><mi>x</mi>");
        assert_eq!(body("a-x"), "<mi>a</mi><mo>−</mo><mi>x</mi>");
        assert!(body("a=-x").contains("form=\"prefix\""));
        assert!(!body("x^2 - 1").contains("prefix"));
    }

    #[test]
    fn malformed_input_stays_visible_and_does_not_panic() {
        assert!(body(r"\unknown x").contains("merror"));
        assert!(body("a } b").contains("}"));
        for tex in [
            "", "\\", "{", "}", "^", "_", "x^", "x_{", "\\frac", "\\left", "\\left(x", "\\text{a", "é^é",
            "\\é", "1.", "∫'",
        ] {
            assert!(Math::display(tex).0.ends_with("</math>"), "{tex}");
        }
        assert!(!body("<b>").contains("<b>"));
    }
}
