//! What is left of a file when the items that only tests compile are taken out.

use std::ops::Range;
use std::path::Path;

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Meta, Token};

use crate::Error;

/// The text of a file with its test items blanked: every other line keeps its number and every byte its place.
#[derive(Clone, Debug)]
pub struct Product {
    pub text: String,
    /// The lines, from 1, that belong to test items alone.
    blank: Vec<Range<usize>>,
}

impl Product {
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        let syntax =
            syn::parse_file(text).map_err(|source| Error::Parse { path: path.to_owned(), source })?;
        Ok(Self::of(text, &syntax))
    }

    pub(crate) fn of(text: &str, syntax: &syn::File) -> Self {
        let mut items = TestItems::default();
        if text.contains("#[cfg(") {
            items.visit_file(syntax);
        }
        let mut bytes = text.as_bytes().to_vec();
        for range in &items.bytes {
            // The comma after a field, a variant or an arm goes with it.
            let after = text.get(range.end..).unwrap_or_default();
            let comma = after.trim_start().starts_with(',').then(|| after.find(',')).flatten();
            let end = comma.map_or(range.end, |at| range.end + at + 1);
            let item = bytes.get_mut(range.start..end).unwrap_or_default();
            item.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        }
        Self { text: String::from_utf8_lossy(&bytes).into_owned(), blank: items.lines }
    }

    /// Its lines with their numbers, comments and empty lines among them.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..)
            .zip(self.text.lines())
            .filter(|(number, _)| !self.blank.iter().any(|lines| lines.contains(number)))
    }
}

#[derive(Default)]
struct TestItems {
    bytes: Vec<Range<usize>>,
    lines: Vec<Range<usize>>,
}

impl TestItems {
    /// Notes a node that only tests compile. Says whether to look for such nodes inside it.
    fn enter(&mut self, node: &impl ToTokens) -> bool {
        let tests = is_for_tests(&attributes(node));
        if tests {
            let span = node.span();
            self.bytes.push(span.byte_range());
            self.lines.push(span.start().line..span.end().line + 1);
        }
        !tests
    }
}

impl<'ast> Visit<'ast> for TestItems {
    fn visit_item(&mut self, node: &'ast syn::Item) {
        if self.enter(node) {
            visit::visit_item(self, node);
        }
    }

    fn visit_impl_item(&mut self, node: &'ast syn::ImplItem) {
        if self.enter(node) {
            visit::visit_impl_item(self, node);
        }
    }

    fn visit_trait_item(&mut self, node: &'ast syn::TraitItem) {
        if self.enter(node) {
            visit::visit_trait_item(self, node);
        }
    }

    fn visit_stmt(&mut self, node: &'ast syn::Stmt) {
        if self.enter(node) {
            visit::visit_stmt(self, node);
        }
    }

    fn visit_field(&mut self, node: &'ast syn::Field) {
        if self.enter(node) {
            visit::visit_field(self, node);
        }
    }

    fn visit_field_value(&mut self, node: &'ast syn::FieldValue) {
        if self.enter(node) {
            visit::visit_field_value(self, node);
        }
    }

    fn visit_variant(&mut self, node: &'ast syn::Variant) {
        if self.enter(node) {
            visit::visit_variant(self, node);
        }
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        if self.enter(node) {
            visit::visit_arm(self, node);
        }
    }
}

/// The attributes at the head of any node.
fn attributes(node: &impl ToTokens) -> Vec<Attribute> {
    let head = |input: ParseStream| {
        let attributes = input.call(Attribute::parse_outer)?;
        input.parse::<TokenStream>()?;
        Ok(attributes)
    };
    head.parse2(node.to_token_stream()).unwrap_or_default()
}

pub(crate) fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args().is_ok_and(|condition| only_in_tests(&condition))
    })
}

/// Whether no build of the product meets the condition. The feature `fixtures` gives one crate's test values to another's tests.
fn only_in_tests(condition: &Meta) -> bool {
    match condition {
        Meta::Path(path) => path.is_ident("test"),
        Meta::NameValue(pair) => {
            pair.path.is_ident("feature") && pair.value.to_token_stream().to_string() == r#""fixtures""#
        }
        Meta::List(list) => {
            let inner =
                list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).unwrap_or_default();
            let mut inner = inner.iter();
            match list.path.get_ident().map(ToString::to_string).as_deref() {
                Some("all") => inner.any(only_in_tests),
                Some("any") => inner.all(only_in_tests),
                _ => false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn product(text: &str) -> Vec<String> {
        let product = Product::parse(Path::new("sample.rs"), text).expect("Rust");
        syn::parse_file(&product.text).expect("still Rust");
        product.lines().map(|(number, line)| format!("{number} {}", line.trim())).collect()
    }

    #[test]
    fn exactly_the_item_under_the_attribute_is_taken_out() {
        let lines = product(
            "#[cfg(test)]\nmod tests;\nstruct A {\n    #[cfg(test)]\n    b: u8,\n    c: u8,\n}\n\n#[cfg(test)]\n#[allow(x)]\nfn f() {\n}\nfn g() {\n    #[cfg(test)]\n    f();\n}\n",
        );
        assert_eq!(lines, ["3 struct A {", "6 c: u8,", "7 }", "8 ", "13 fn g() {", "16 }"]);
    }

    #[test]
    fn only_a_condition_that_no_product_meets_is_for_tests() {
        for condition in ["test", "all(test, unix)", r#"any(test, feature = "fixtures")"#] {
            assert_eq!(product(&format!("#[cfg({condition})]\nfn f() {{}}\n")), [""; 0], "{condition}");
        }
        for condition in ["unix", "not(test)", "any(test, unix)", r#"feature = "other""#] {
            assert_eq!(product(&format!("#[cfg({condition})]\nfn f() {{}}\n")).len(), 2, "{condition}");
        }
    }
}
