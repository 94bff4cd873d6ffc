//! A file's text, split into what the compiler reads, the strings and the comments.

use std::ops::Range;
use std::str::FromStr;

use proc_macro2::{LexError, TokenStream, TokenTree};

pub struct Text {
    /// The text with comments and the insides of strings blanked; each line keeps its number.
    pub code: String,
    /// Each string with the line where it begins, as it is written in the file: escapes are not resolved.
    pub strings: Vec<(usize, String)>,
    /// Each line with a comment, with its number.
    pub comments: Vec<(usize, String)>,
}

impl Text {
    pub fn of(text: &str) -> Result<Self, LexError> {
        let mut tokens = Vec::new();
        leaves(text, TokenStream::from_str(text)?, &mut tokens);
        let mut code = blank(text);
        let mut comments = text.as_bytes().to_vec();
        let mut strings = Vec::new();
        for range in tokens {
            let token = text.get(range.clone()).unwrap_or_default();
            copy(&mut comments, &range, &blank(token));
            match token.find('"').filter(|_| token.ends_with(['"', '#']) && token.len() > 1) {
                Some(quote) => {
                    let line = text.get(..range.start).unwrap_or_default().matches('\n').count() + 1;
                    strings.push((
                        line,
                        token.get(quote..).unwrap_or_default().trim_matches(['"', '#']).to_owned(),
                    ));
                    copy(&mut code, &(range.start..range.start + 1), b"\"");
                    copy(&mut code, &(range.end - 1..range.end), b"\"");
                }
                None => copy(&mut code, &range, token.as_bytes()),
            }
        }
        let comments = String::from_utf8_lossy(&comments).into_owned();
        let comments = (1..).zip(comments.lines()).filter(|(_, line)| !line.trim().is_empty());
        Ok(Self {
            code: String::from_utf8_lossy(&code).into_owned(),
            strings,
            comments: comments.map(|(number, line)| (number, line.trim().to_owned())).collect(),
        })
    }
}

/// The place of each token in the text. A documentation comment, which arrives as an attribute, has none.
fn leaves(text: &str, tokens: TokenStream, found: &mut Vec<Range<usize>>) {
    for token in tokens {
        let whole = token.span().byte_range();
        if text.get(whole.clone()).is_some_and(|token| token.starts_with("//") || token.starts_with("/*")) {
            continue;
        }
        if let TokenTree::Group(group) = &token {
            found.push(group.span_open().byte_range());
            leaves(text, group.stream(), found);
            found.push(group.span_close().byte_range());
        } else {
            found.push(whole);
        }
    }
}

fn blank(text: &str) -> Vec<u8> {
    text.bytes().map(|byte| if byte == b'\n' { byte } else { b' ' }).collect()
}

fn copy(into: &mut [u8], range: &Range<usize>, bytes: &[u8]) {
    if let Some(place) = into.get_mut(range.clone()).filter(|place| place.len() == bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_strings_and_comments_are_separated() {
        let text = "//! head\nfn f() { // why\n    g(\"one // two\", r#\"three \"four\"\"#, \'\"\');\n}\n/// doc\nfn é() {}\n";
        let text = Text::of(text).expect("Rust");
        assert_eq!(text.strings, [(3, "one // two".to_owned()), (3, "three \"four".to_owned())]);
        let comments: Vec<_> = text.comments.iter().map(|(line, text)| (*line, text.as_str())).collect();
        assert_eq!(comments, [(1, "//! head"), (2, "// why"), (5, "/// doc")]);
        let code: Vec<_> =
            text.code.lines().map(|line| line.split_whitespace().collect::<String>()).collect();
        assert_eq!(code, ["", "fnf(){", "g(\"\",\"\",\'\"\');", "}", "", "fné(){}"]);
    }
}
