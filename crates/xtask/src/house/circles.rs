//! The circles in a graph of files.

use std::collections::BTreeSet;

use super::uses::Arrows;

/// The groups of files that all reach one another, in order.
pub fn circles(arrows: &Arrows) -> Vec<Vec<usize>> {
    let ends: BTreeSet<usize> = arrows.keys().flat_map(|(from, to)| [*from, *to]).collect();
    let mut found: Vec<Vec<usize>> = Vec::new();
    for file in &ends {
        if found.iter().flatten().any(|known| known == file) {
            continue;
        }
        let below = reached(arrows, *file);
        let circle: Vec<usize> =
            below.iter().copied().filter(|other| reached(arrows, *other).contains(file)).collect();
        if !circle.is_empty() {
            found.push(circle);
        }
    }
    found
}

/// The files at the ends of the arrows from this one, and so on: itself only if they lead back.
fn reached(arrows: &Arrows, file: usize) -> BTreeSet<usize> {
    let mut found = BTreeSet::new();
    let mut open = vec![file];
    while let Some(from) = open.pop() {
        open.extend(
            arrows.keys().filter(|(start, end)| *start == from && found.insert(*end)).map(|(_, end)| *end),
        );
    }
    found
}
