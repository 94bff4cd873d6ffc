//! Creates a sound snapshot of any size in seconds: `large FILE MEGABYTES`.
//!
//! The benchmark measures memory with it. Each object has its own leaf page and a value of zeros, most of which are holes in
//! the file: it needs a quarter of its size on disk.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::disallowed_types)]

use std::fs::File;
use std::io::{BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};

use sha2::{Digest as _, Sha256};

const PAGE: usize = 4096;
/// The number of pages of one leaf, including the one with its header.
const LEAF: usize = 4;
const HEADER: usize = 16;
const ELEMENT: usize = 16;
const BRANCH_FLAG: u16 = 1;
const LEAF_FLAG: u16 = 2;
const META_FLAG: u16 = 4;
/// The page number of the first leaf, after the metas.
const FIRST: u64 = 2;
const FANOUT: usize = 100;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, megabytes] = &arguments[..] else {
        panic!("usage: large FILE MEGABYTES");
    };
    let leaves = megabytes.parse::<u64>().unwrap() * 1_000_000 / (LEAF * PAGE) as u64;
    let file = File::options().read(true).write(true).create_new(true).open(path).unwrap();
    let mut out = BufWriter::new(file);
    for number in 0..leaves {
        out.seek(SeekFrom::Start(place(FIRST + number * LEAF as u64))).unwrap();
        out.write_all(&leaf(FIRST + number * LEAF as u64, number + 2)).unwrap();
    }
    let (root, next) = branches(&mut out, leaves);
    let buckets = root_leaf(next, root, leaves + 1);
    out.seek(SeekFrom::Start(place(next))).unwrap();
    out.write_all(&buckets).unwrap();
    for id in [0, 1] {
        out.seek(SeekFrom::Start(place(id))).unwrap();
        out.write_all(&meta(id, next, next + 1)).unwrap();
    }
    seal(out.into_inner().unwrap());
}

fn place(page: u64) -> u64 {
    page * PAGE as u64
}

/// Main and sub revision.
fn revision(main: u64) -> Vec<u8> {
    [&main.to_be_bytes()[..], b"_", &[0; 8]].concat()
}

fn page(id: u64, flag: u16, count: usize, overflow: u32) -> Vec<u8> {
    let mut page = id.to_le_bytes().to_vec();
    page.extend(flag.to_le_bytes());
    page.extend(u16::try_from(count).unwrap().to_le_bytes());
    page.extend(overflow.to_le_bytes());
    page
}

/// Only the first page; the following pages are zeros.
fn leaf(id: u64, main: u64) -> Vec<u8> {
    let key = format!("/registry/configmaps/bench/object-{main:09}");
    let mut value = vec![0x0a, u8::try_from(key.len()).unwrap()];
    value.extend(key.bytes());
    for (tag, number) in [(0x10, main), (0x18, main), (0x20, 1)] {
        value.push(tag);
        varint(&mut value, number);
    }
    let space = LEAF * PAGE - HEADER - ELEMENT - 17;
    // The length of the rest after its own two bytes.
    value.push(0x2a);
    let zeros = space - value.len() - 2;
    varint(&mut value, zeros as u64);
    assert_eq!(value.len() + zeros, space);
    let mut page = page(id, LEAF_FLAG, 1, LEAF as u32 - 1);
    for number in [0, ELEMENT as u32, 17, space as u32] {
        page.extend(number.to_le_bytes());
    }
    page.extend(revision(main));
    page.extend(value);
    page.resize(PAGE, 0);
    page
}

fn varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

/// Writes all levels. Returns the root page and the first page after it.
fn branches(out: &mut BufWriter<File>, leaves: u64) -> (u64, u64) {
    let mut below: Vec<(u64, u64)> =
        (0..leaves).map(|number| (number + 2, FIRST + number * LEAF as u64)).collect();
    let mut next = FIRST + leaves * LEAF as u64;
    while below.len() > 1 {
        let mut level = Vec::new();
        for children in below.chunks(FANOUT) {
            let mut bytes = page(next, BRANCH_FLAG, children.len(), 0);
            for (number, (_, child)) in children.iter().enumerate() {
                let pos = (children.len() - number) * ELEMENT + number * 17;
                bytes.extend(u32::try_from(pos).unwrap().to_le_bytes());
                bytes.extend(17u32.to_le_bytes());
                bytes.extend(child.to_le_bytes());
            }
            children.iter().for_each(|(main, _)| bytes.extend(revision(*main)));
            bytes.resize(PAGE, 0);
            out.seek(SeekFrom::Start(place(next))).unwrap();
            out.write_all(&bytes).unwrap();
            level.push((children[0].0, next));
            next += 1;
        }
        below = level;
    }
    (below[0].1, next)
}

/// The root bucket with etcd's buckets; all except `key` and `meta` are empty inline buckets.
fn root_leaf(id: u64, keys: u64, last: u64) -> Vec<u8> {
    let names = [
        "alarm",
        "auth",
        "authRoles",
        "authUsers",
        "cluster",
        "key",
        "lease",
        "members",
        "members_removed",
        "meta",
    ];
    let values = names.map(|name| match name {
        "key" => [keys.to_le_bytes(), [0; 8]].concat(),
        "meta" => inline(&[(b"consistent_index", &last.to_be_bytes())]),
        _ => inline(&[]),
    });
    let entries: Vec<(&[u8], &[u8])> =
        names.iter().zip(&values).map(|(name, value)| (name.as_bytes(), value.as_slice())).collect();
    let mut page = leaf_of(id, 1, &entries);
    page.resize(PAGE, 0);
    page
}

fn inline(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    [vec![0; 16], leaf_of(0, 0, entries)].concat()
}

fn leaf_of(id: u64, flags: u32, entries: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = page(id, LEAF_FLAG, entries.len(), 0);
    let mut before = 0;
    for (number, (key, value)) in entries.iter().enumerate() {
        let pos = (entries.len() - number) * ELEMENT + before;
        for number in [flags as usize, pos, key.len(), value.len()] {
            bytes.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        before += key.len() + value.len();
    }
    entries.iter().for_each(|(key, value)| bytes.extend([*key, *value].concat()));
    bytes
}

fn meta(id: u64, root: u64, high_water: u64) -> Vec<u8> {
    let mut meta = Vec::new();
    for number in [0xED0C_DAED, 2, PAGE as u32, 0] {
        meta.extend(number.to_le_bytes());
    }
    // The root's sequence, no freelist, and the transaction: in a stream, the first meta has the later one.
    for number in [root, 0, u64::MAX, high_water, 9 - id] {
        meta.extend(number.to_le_bytes());
    }
    let fnv = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    meta.extend(meta.iter().fold(0xcbf2_9ce4_8422_2325, fnv).to_le_bytes());
    let mut bytes = page(id, META_FLAG, 0, 0);
    bytes.extend(meta);
    bytes.resize(PAGE, 0);
    bytes
}

/// Appends the hash of the whole file.
fn seal(mut file: File) {
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut hasher = Sha256::new();
    let mut reader = BufReader::with_capacity(1 << 20, &file);
    let mut piece = vec![0; 1 << 20];
    loop {
        let read = reader.read(&mut piece).unwrap();
        if read == 0 {
            break;
        }
        hasher.update(&piece[..read]);
    }
    drop(reader);
    file.seek(SeekFrom::End(0)).unwrap();
    file.write_all(&hasher.finalize()).unwrap();
}
