//! Parses the sources and merges them key by key. Every key and value keeps its position.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};
use toml::value::Datetime;

use crate::sources::{Sources, Span};

type Value<'t> = Spanned<DeValue<'t>>;

/// A step from a table or list to one of its elements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    Index(usize),
}

/// What is at a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hit {
    Key,
    Value,
}

/// The lists of tables, such as `[[remote]]`: a drop-in adds to them, or replaces the table with the same `name`.
const LISTS_OF_TABLES: [&str; 3] = ["remote", "notify", "hook"];

/// Merges the tables of all sources. Later sources win: tables are merged key by key, other values are replaced.
pub(crate) fn merge<'t>(tables: impl IntoIterator<Item = DeTable<'t>>) -> DeTable<'t> {
    let mut merged = DeTable::new();
    for mut table in tables {
        for list in LISTS_OF_TABLES {
            add_tables(merged.get_mut(list), table.get_mut(list));
        }
        merge_into(&mut merged, table);
    }
    merged
}

/// Puts the tables of an earlier list, without those that the later one replaces, in front of the later list.
fn add_tables<'t>(earlier: Option<&mut Value<'t>>, later: Option<&mut Value<'t>>) {
    let lists = (earlier.map(Spanned::get_mut), later.map(Spanned::get_mut));
    let (Some(DeValue::Array(earlier)), Some(DeValue::Array(later))) = lists else { return };
    let added = std::mem::replace(later, DeArray::new());
    let replaced: Vec<String> = added.iter().filter_map(name_of).collect();
    let kept = std::mem::replace(earlier, DeArray::new()).into_iter();
    let kept = kept.filter(|table| name_of(table).is_none_or(|name| !replaced.contains(&name)));
    *later = kept.chain(added).collect();
}

fn name_of(table: &Value<'_>) -> Option<String> {
    Some(table.get_ref().as_table()?.get("name")?.get_ref().as_str()?.to_owned())
}

fn merge_into<'t>(into: &mut DeTable<'t>, from: DeTable<'t>) {
    for (key, mut value) in from {
        if let (Some(DeValue::Table(old)), DeValue::Table(new)) =
            (into.get_mut(key.get_ref().as_ref()).map(Spanned::get_mut), value.get_mut())
        {
            merge_into(old, std::mem::take(new));
            continue;
        }
        // Inserting over an old key would keep the old key's position.
        into.remove(key.get_ref().as_ref());
        into.insert(key, value);
    }
}

/// Parses one source; its spans are counted from `begins`.
pub(crate) fn parse(text: &str, begins: usize) -> Result<DeTable<'_>, Vec<(Option<Span>, String)>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(shift_table(table.into_inner(), begins));
    }
    let shift = |span: Span| span.start + begins..span.end + begins;
    Err(errors.into_iter().map(|error| (error.span().map(shift), error.message().to_owned())).collect())
}

fn shift_table(table: DeTable<'_>, by: usize) -> DeTable<'_> {
    table
        .into_iter()
        .map(|(key, value)| (shift(key, by, |key, _| key), shift(value, by, shift_value)))
        .collect()
}

fn shift_value(value: DeValue<'_>, by: usize) -> DeValue<'_> {
    match value {
        DeValue::Table(table) => DeValue::Table(shift_table(table, by)),
        DeValue::Array(array) => {
            DeValue::Array(array.into_iter().map(|value| shift(value, by, shift_value)).collect())
        }
        leaf => leaf,
    }
}

fn shift<T>(spanned: Spanned<T>, by: usize, inner: impl Fn(T, usize) -> T) -> Spanned<T> {
    let span = spanned.span();
    Spanned::new(span.start + by..span.end + by, inner(spanned.into_inner(), by))
}

/// The path to the key or value at a span; if there is none, to the smallest value around it.
pub(crate) fn find(table: &DeTable<'_>, span: &Span) -> Option<(Vec<Step>, Hit)> {
    let mut best: Option<(usize, Vec<Step>, Hit)> = None;
    visit_table(table, &mut Vec::new(), &mut |path, hit, found| {
        let around = found.start <= span.start && span.end <= found.end;
        if around && best.as_ref().is_none_or(|(smallest, ..)| found.len() < *smallest) {
            best = Some((found.len(), path.to_vec(), hit));
        }
    });
    best.map(|(_, path, hit)| (path, hit))
}

type Visitor<'v> = dyn FnMut(&[Step], Hit, Span) + 'v;

fn visit_table(table: &DeTable<'_>, path: &mut Vec<Step>, visitor: &mut Visitor<'_>) {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        visitor(path, Hit::Key, key.span());
        visit_value(value, path, visitor);
        path.pop();
    }
}

fn visit_value(value: &Value<'_>, path: &mut Vec<Step>, visitor: &mut Visitor<'_>) {
    visitor(path, Hit::Value, value.span());
    match value.get_ref() {
        DeValue::Table(table) => visit_table(table, path, visitor),
        DeValue::Array(array) => {
            for (index, value) in array.iter().enumerate() {
                path.push(Step::Index(index));
                visit_value(value, path, visitor);
                path.pop();
            }
        }
        _ => {}
    }
}

/// The date or time at a path: TOML has them without quotes.
pub(crate) fn unquoted_time(table: &DeTable<'_>, path: &[Step]) -> Option<Datetime> {
    let (Step::Key(key), rest) = path.split_first()? else { return None };
    let mut value = table.get(key.as_str())?.get_ref();
    for step in rest {
        value = match (value, step) {
            (DeValue::Table(table), Step::Key(key)) => table.get(key.as_str())?.get_ref(),
            (DeValue::Array(array), Step::Index(index)) => array.get(*index)?.get_ref(),
            _ => return None,
        };
    }
    match value {
        DeValue::Datetime(time) => Some(*time),
        _ => None,
    }
}

/// Removes the key or element at a path from the tree.
pub(crate) fn remove(table: &mut DeTable<'_>, path: &[Step]) {
    let Some((Step::Key(key), rest)) = path.split_first() else { return };
    if rest.is_empty() {
        table.remove(key.as_str());
    } else if let Some(value) = table.get_mut(key.as_str()) {
        remove_within(value.get_mut(), rest);
    }
}

fn remove_within(value: &mut DeValue<'_>, path: &[Step]) {
    match (value, path) {
        (DeValue::Table(table), _) => remove(table, path),
        (DeValue::Array(array), [Step::Index(index)]) => {
            let kept = std::mem::replace(array, DeArray::new()).into_iter().enumerate();
            *array = kept.filter(|(at, _)| at != index).map(|(_, value)| value).collect();
        }
        (DeValue::Array(array), [Step::Index(index), rest @ ..]) => {
            if let Some(value) = array.get_mut(*index) {
                remove_within(value.get_mut(), rest);
            }
        }
        _ => {}
    }
}

/// Parses all sources, or returns all syntax errors.
pub(crate) fn read<'t>(sources: &Sources<'t>) -> Result<Vec<DeTable<'t>>, Vec<(Option<Span>, String)>> {
    let mut tables = Vec::new();
    let mut errors = Vec::new();
    for (begins, source) in sources.iter() {
        match parse(&source.text, begins) {
            Ok(table) => tables.push(table),
            Err(found) => errors.extend(found),
        }
    }
    if errors.is_empty() { Ok(tables) } else { Err(errors) }
}
