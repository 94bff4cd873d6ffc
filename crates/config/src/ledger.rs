//! Collects the results of resolving a config: errors, warnings, and the origin of each setting.

use toml::Spanned;

use crate::diagnostic::{Diagnostic, Severity};
use crate::raw::{Leaf, List};
use crate::refusal::Refusal;
use crate::show::{self, Entry, Origin, Origins, Shown};
use crate::sources::{Sources, Span};
use crate::tree::Step;

#[derive(Debug)]
pub(crate) struct Ledger<'t> {
    sources: &'t Sources<'t>,
    /// Each with its offset in the sources, so that they can be shown in that order.
    errors: Vec<(usize, Diagnostic)>,
    warnings: Vec<(usize, Diagnostic)>,
    origins: Origins,
    header: String,
    /// The unreadable parts of the config: a key that seems missing may be in one of them.
    torn: Vec<Vec<Step>>,
}

impl<'t> Ledger<'t> {
    pub(crate) fn new(sources: &'t Sources<'t>) -> Self {
        Self {
            sources,
            errors: Vec::new(),
            warnings: Vec::new(),
            origins: Origins::default(),
            header: String::new(),
            torn: Vec::new(),
        }
    }

    /// Starts a table, such as `[night]` or `[[remote]]`: the following settings belong to it.
    pub(crate) fn section(&mut self, header: impl Into<String>) {
        self.header = header.into();
    }

    pub(crate) fn refuse(&mut self, span: Option<&Span>, refusal: Refusal) {
        let diagnostic = self.diagnostic(Severity::Error, span, refusal);
        self.errors.push((span.map_or(usize::MAX, |span| span.start), diagnostic));
    }

    pub(crate) fn warn(&mut self, span: Option<&Span>, refusal: Refusal) {
        let diagnostic = self.diagnostic(Severity::Warning, span, refusal);
        self.warnings.push((span.map_or(usize::MAX, |span| span.start), diagnostic));
    }

    /// From now on, a key that seems missing may be in this part, which was unreadable.
    pub(crate) fn tear(&mut self, path: Vec<Step>) {
        self.torn.push(path);
    }

    /// Whether a key of this table may be in an unreadable part: in the table itself, or in one with a mistyped name.
    pub(crate) fn may_lack_keys_of(&self, table: &str) -> bool {
        self.torn.iter().any(|path| match path.as_slice() {
            [Step::Key(torn), _, ..] => torn == table,
            _ => true,
        })
    }

    /// Refuses a missing key, unless it may be in an unreadable part.
    pub(crate) fn missing(&mut self, span: Option<&Span>, refusal: Refusal) {
        if self.torn.is_empty() {
            self.refuse(span, refusal);
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.errors.is_empty()
    }

    fn diagnostic(&self, severity: Severity, span: Option<&Span>, refusal: Refusal) -> Diagnostic {
        let place = span.and_then(|span| self.sources.place(span));
        let file = place.as_ref().map_or_else(|| self.sources.main().to_owned(), |place| place.file.clone());
        let message = match span {
            Some(span) => self.sources.without_secrets(span, refusal.message),
            None => refusal.message,
        };
        Diagnostic { severity, message, place, file, label: refusal.label, help: refusal.help }
    }

    pub(crate) fn origin(&self, span: &Span) -> Origin {
        let (name, line) = self.sources.line(span.start).unwrap_or_default();
        Origin::File { name: name.to_owned(), line }
    }

    /// Records an effective setting.
    pub(crate) fn note(&mut self, key: &str, value: String, origin: Origin) {
        self.push(key, Ok(value), origin);
    }

    /// Records an unset setting, and what is used instead.
    pub(crate) fn note_unset(&mut self, key: &str, instead: &str) {
        self.push(key, Err(instead.to_owned()), Origin::Default);
    }

    fn push(&mut self, key: &str, value: Result<String, String>, origin: Origin) {
        self.origins.entries.push(Entry { header: self.header.clone(), key: key.to_owned(), value, origin });
    }

    /// The value of a leaf, or its default if it is unset or refused.
    pub(crate) fn take<R, T: Shown>(
        &mut self,
        key: &str,
        leaf: &Leaf<R>,
        default: T,
        read: impl FnOnce(&R) -> Result<T, Refusal>,
    ) -> T {
        let (value, origin) = match self.read(leaf, read) {
            Some((value, span)) => (value, self.origin(&span)),
            None => (default, Origin::Default),
        };
        self.note(key, value.shown(), origin);
        value
    }

    /// The value of a leaf that has no default.
    pub(crate) fn take_optional<R, T: Shown>(
        &mut self,
        key: &str,
        leaf: &Leaf<R>,
        instead: &str,
        read: impl FnOnce(&R) -> Result<T, Refusal>,
    ) -> Option<T> {
        let Some((value, span)) = self.read(leaf, read) else {
            self.note_unset(key, instead);
            return None;
        };
        let origin = self.origin(&span);
        self.note(key, value.shown(), origin);
        Some(value)
    }

    /// The elements of a list that are not refused, or its default.
    pub(crate) fn take_list<T: Shown>(
        &mut self,
        key: &str,
        list: &List,
        default: impl FnOnce() -> Vec<T>,
        read: impl Fn(&str) -> Result<T, Refusal>,
    ) -> Vec<T> {
        let (values, origin) = match list {
            Some(list) => {
                let mut values = Vec::new();
                for element in list.get_ref() {
                    match read(element.get_ref()) {
                        Ok(value) => values.push(value),
                        Err(refusal) => self.refuse(Some(&element.span()), refusal),
                    }
                }
                (values, self.origin(&list.span()))
            }
            None => (default(), Origin::Default),
        };
        self.note(key, show::list(&values), origin);
        values
    }

    /// Reads a leaf, or refuses it.
    pub(crate) fn read<R, T>(
        &mut self,
        leaf: &Leaf<R>,
        read: impl FnOnce(&R) -> Result<T, Refusal>,
    ) -> Option<(T, Span)> {
        let leaf: &Spanned<R> = leaf.as_ref()?;
        match read(leaf.get_ref()) {
            Ok(value) => Some((value, leaf.span())),
            Err(refusal) => {
                self.refuse(Some(&leaf.span()), refusal);
                None
            }
        }
    }

    /// Errors, warnings and origins. Errors and warnings are in the order of the files.
    pub(crate) fn close(mut self) -> (Vec<Diagnostic>, Vec<Diagnostic>, Origins) {
        let in_order = |list: &mut Vec<(usize, Diagnostic)>| {
            list.sort_by_key(|(offset, _)| *offset);
            std::mem::take(list).into_iter().map(|(_, diagnostic)| diagnostic).collect()
        };
        self.origins.sort();
        (in_order(&mut self.errors), in_order(&mut self.warnings), self.origins)
    }
}
