//! The INI format: `[group]`, `[group:children]`, `[group:vars]`, and lines of hosts with variables.

use std::collections::BTreeMap;

use super::groups::{Inventory, InventoryError, is_built_in};
use super::vars::{Value, Vars};
use super::words;

#[derive(Clone, Copy)]
enum Kind {
    Hosts,
    Children,
    Vars,
}

/// Groups that are named before their own section, each with the line that names it first and what is to be said if none follows.
#[derive(Default)]
struct Pending<'t>(BTreeMap<&'t str, (usize, &'static str)>);

pub(super) fn read(text: &str) -> Result<Inventory, InventoryError> {
    let mut inventory = Inventory::default();
    let mut pending = Pending::default();
    let mut declared = std::collections::BTreeSet::new();
    let (mut group, mut kind) = ("ungrouped", Kind::Hosts);
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let on_line = |error: InventoryError| error.on(Some(number));
        if let Some(section) = section(line) {
            (group, kind) = section.map_err(|problem| InventoryError::at(number, problem))?;
            if matches!(kind, Kind::Vars) {
                pending.expect(group, number, "has variables, but no section of its own");
            } else {
                declared.insert(group);
                inventory.add_group(group).map_err(on_line)?;
            }
            continue;
        }
        match kind {
            Kind::Hosts => host(line, group, &mut inventory).map_err(on_line)?,
            Kind::Children => {
                let child = line.split('#').next().unwrap_or_default().trim_end();
                if child.is_empty() || child.contains([' ', '\t', ':', ']']) {
                    return Err(InventoryError::at(
                        number,
                        "expected the name of a group, alone on its line",
                    ));
                }
                pending.expect(child, number, "is listed among children, but has no section");
                inventory.add_child(group, child).map_err(on_line)?;
            }
            Kind::Vars => {
                let Some((name, value)) = line.split_once('=') else {
                    return Err(InventoryError::at(number, "expected NAME=VALUE in a section of variables"));
                };
                let mut vars = Vars::default();
                vars.set(name.trim(), literal(value.trim()));
                inventory.add_group_vars(group, &vars).map_err(on_line)?;
            }
        }
    }
    let undeclared = pending.0.iter().find(|(name, _)| !declared.contains(*name) && !is_built_in(name));
    if let Some((name, (line, problem))) = undeclared {
        return Err(InventoryError::at(*line, format!("the group `{name}` {problem}; add `[{name}]`")));
    }
    inventory.complete()
}

impl<'t> Pending<'t> {
    fn expect(&mut self, group: &'t str, line: usize, problem: &'static str) {
        self.0.entry(group).or_insert((line, problem));
    }
}

/// The group and kind of a section's header; `None` for another line. A range, `[a:c].example.com`, is a host.
fn section(line: &str) -> Option<Result<(&str, Kind), String>> {
    let (inner, rest) = line.strip_prefix('[')?.split_once(']')?;
    if !rest.trim_start().is_empty() && !rest.trim_start().starts_with('#') {
        return None;
    }
    let (name, kind) = match inner.split_once(':') {
        None => (inner, Kind::Hosts),
        Some((name, "children")) => (name, Kind::Children),
        Some((name, "vars")) => (name, Kind::Vars),
        Some((name, "hosts")) => (name, Kind::Hosts),
        Some(_) => {
            return Some(Err(
                "unknown kind of section; write `[group]`, `[group:children]` or `[group:vars]`".to_owned(),
            ));
        }
    };
    if name.is_empty() || name.contains(char::is_whitespace) || name.contains('[') {
        return Some(Err("invalid name of a group; write `[group]` without spaces".to_owned()));
    }
    Some(Ok((name, kind)))
}

fn host(line: &str, group: &str, inventory: &mut Inventory) -> Result<(), InventoryError> {
    let words = words::split(line).ok_or_else(|| InventoryError::whole("a quote is not closed"))?;
    let Some((pattern, rest)) = words.split_first() else { return Ok(()) };
    if pattern.contains('=') {
        // It may be a password, so no message quotes it.
        return Err(InventoryError::whole(format!(
            "expected a host's name before NAME=VALUE; write the variables of a group in the section `[{group}:vars]`"
        )));
    }
    let mut vars = Vars::default();
    for word in rest {
        let Some((name, value)) = word.split_once('=') else {
            return Err(InventoryError::whole("expected NAME=VALUE after the host's name"));
        };
        vars.set(name, literal(value));
    }
    inventory.add_pattern(group, pattern, &vars)
}

/// A value is a Python literal, else a text. A literal may be followed by a comment, which is part of a text.
fn literal(value: &str) -> Value {
    let is_end = |rest: &str| rest.trim_start().is_empty() || rest.trim_start().starts_with('#');
    let quoted = ['"', '\''].into_iter().find_map(|quote| {
        let (inner, rest) = value.strip_prefix(quote)?.split_once(quote)?;
        (is_end(rest) && !inner.contains('\\')).then_some(inner)
    });
    let digits = value.trim_start_matches(|c: char| c.is_ascii_digit());
    let number = &value[..value.len() - digits.len()];
    match value {
        "True" => Value::of("true"),
        "False" => Value::of("false"),
        "None" => Value::Unknown,
        _ if !number.is_empty() && is_end(digits) => Value::of(number),
        value => Value::of(quoted.unwrap_or(value)),
    }
}
