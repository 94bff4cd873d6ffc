//! Builds databases of any size and shape page by page, as bbolt would: for shapes that no current etcd writes, and for sizes
//! that are too large for test data.

#![allow(dead_code)]

pub const PAGE: usize = 4096;
/// The children of a branch.
const FAN: u64 = 100;
pub const NO_FREELIST: u64 = u64::MAX;

/// What to build: the leaves of the bucket `key`, then the branches above them, then the root.
#[derive(Debug, Clone)]
pub struct Plan {
    pub leaves: u64,
    /// The number of changes per leaf, and of bytes per value.
    pub changes: u64,
    pub value: usize,
    /// The number of free pages before the leaves.
    pub gap: u64,
    /// Whether the list of free pages is stored, as in etcd up to 3.2.
    pub freelist: bool,
}

impl Default for Plan {
    fn default() -> Self {
        Self { leaves: 300, changes: 5, value: 100, gap: 0, freelist: false }
    }
}

/// Builds a database and writes its pages to `sink` in file order, without a trailer.
pub fn build(plan: &Plan, mut sink: impl FnMut(&[u8])) {
    let first = 2 + plan.gap;
    let span = (leaf_of(plan, first, 0).len() / PAGE) as u64;
    // For each level: the first page, the number of pages per node, and the number of nodes.
    let mut levels = vec![(first, span, plan.leaves)];
    while let Some((begin, span, nodes)) = levels.last().copied().filter(|(_, _, nodes)| *nodes > 1) {
        levels.push((begin + span * nodes, 1, nodes.div_ceil(FAN)));
    }
    let (top, top_span, _) = levels[levels.len() - 1];
    let root = top + top_span;
    let freelist = if plan.freelist { root + 1 } else { NO_FREELIST };
    let high_water = root + 1 + u64::from(plan.freelist);
    for (id, txid) in [(0, 8), (1, 7)] {
        sink(&meta(id, root, freelist, high_water, txid));
    }
    for _ in 0..plan.gap {
        sink(&[0; PAGE]);
    }
    for leaf in 0..plan.leaves {
        sink(&leaf_of(plan, first + leaf * span, leaf));
    }
    for (level, pair) in levels.windows(2).enumerate() {
        let ((below, span, children), (begin, _, nodes)) = (pair[0], pair[1]);
        for node in 0..nodes {
            let range = node * FAN..(node * FAN + FAN).min(children);
            let key = |child: u64| revision(plan, child * FAN.pow(level as u32));
            let children: Vec<_> = range.map(|child| (key(child), below + child * span)).collect();
            sink(&branch(begin + node, &children));
        }
    }
    let key = [top.to_le_bytes(), [0; 8]].concat();
    let index = leaf(0, &[(0, b"consistent_index".to_vec(), 77u64.to_be_bytes().to_vec())], false);
    let meta_bucket = [&[0; 16], &index[..]].concat();
    sink(&leaf(root, &[(1, b"key".to_vec(), key), (1, b"meta".to_vec(), meta_bucket)], true));
    if plan.freelist {
        let mut page = header(freelist, 0x10, plan.gap as u16, 0);
        page.extend((2..first).flat_map(u64::to_le_bytes));
        page.resize(PAGE, 0);
        sink(&page);
    }
}

/// Like [`build`], in one vector.
pub fn built(plan: &Plan) -> Vec<u8> {
    let mut bytes = Vec::new();
    build(plan, |page| bytes.extend_from_slice(page));
    bytes
}

fn revision(plan: &Plan, leaf: u64) -> u64 {
    2 + leaf * plan.changes
}

fn stored_key(main: u64) -> Vec<u8> {
    [&main.to_be_bytes()[..], b"_", &[0; 8]].concat()
}

fn leaf_of(plan: &Plan, id: u64, number: u64) -> Vec<u8> {
    let entries: Vec<_> = (0..plan.changes)
        .map(|change| {
            let main = revision(plan, number) + change;
            let mut value = vec![0x0a, 26];
            value.extend(format!("/registry/pods/x/{main:09}").into_bytes());
            for field in [0x10, 0x18] {
                value.push(field);
                varint(main, &mut value);
            }
            value.extend([0x20, 1, 0x2a]);
            varint(plan.value as u64, &mut value);
            value.resize(value.len() + plan.value, b'x');
            (0, stored_key(main), value)
        })
        .collect();
    leaf(id, &entries, true)
}

fn varint(mut number: u64, to: &mut Vec<u8>) {
    while number >= 0x80 {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

fn header(id: u64, flags: u16, count: u16, overflow: u32) -> Vec<u8> {
    [&id.to_le_bytes()[..], &flags.to_le_bytes(), &count.to_le_bytes(), &overflow.to_le_bytes()].concat()
}

pub fn leaf(id: u64, entries: &[(u32, Vec<u8>, Vec<u8>)], whole: bool) -> Vec<u8> {
    let data: usize = entries.iter().map(|(_, key, value)| key.len() + value.len()).sum();
    let used = 16 + 16 * entries.len() + data;
    let overflow = if whole { (used - 1) / PAGE } else { 0 };
    let mut page = header(id, 2, entries.len() as u16, overflow as u32);
    let mut before = 0;
    for (index, (flags, key, value)) in entries.iter().enumerate() {
        let position = (entries.len() - index) * 16 + before;
        for word in [*flags, position as u32, key.len() as u32, value.len() as u32] {
            page.extend(word.to_le_bytes());
        }
        before += key.len() + value.len();
    }
    for (_, key, value) in entries {
        page.extend(key);
        page.extend(value);
    }
    if whole {
        page.resize((overflow + 1) * PAGE, 0);
    }
    page
}

fn branch(id: u64, children: &[(u64, u64)]) -> Vec<u8> {
    let mut page = header(id, 1, children.len() as u16, 0);
    for (index, (_, child)) in children.iter().enumerate() {
        page.extend((((children.len() - index) * 16 + index * 17) as u32).to_le_bytes());
        page.extend(17u32.to_le_bytes());
        page.extend(child.to_le_bytes());
    }
    page.extend(children.iter().flat_map(|(main, _)| stored_key(*main)));
    page.resize(PAGE, 0);
    page
}

pub fn meta(id: u64, root: u64, freelist: u64, high_water: u64, txid: u64) -> Vec<u8> {
    let mut meta = Vec::new();
    for word in [0xED0C_DAEDu32, 2, PAGE as u32, 0] {
        meta.extend(word.to_le_bytes());
    }
    for word in [root, 0, freelist, high_water, txid] {
        meta.extend(word.to_le_bytes());
    }
    let sum = meta.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    meta.extend(sum.to_le_bytes());
    let mut page = [header(id, 4, 0, 0), meta].concat();
    page.resize(PAGE, 0);
    page
}
