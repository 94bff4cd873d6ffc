//! More than was asked for: listings and files that do not end.

use crate::Habit;

/// Directories never end.
#[derive(Default)]
pub struct Flood {
    names: u64,
}

impl Habit for Flood {
    fn more_names(&mut self) -> Vec<String> {
        self.names += 100;
        (self.names..self.names + 100).map(|number| format!("etcd.{number}")).collect()
    }
}

/// Files never end, and have any size.
pub struct Endless;

impl Habit for Endless {
    fn read(&mut self, mut bytes: Vec<u8>, requested: u32) -> Vec<u8> {
        bytes.resize(requested as usize, b' ');
        bytes
    }

    fn size(&mut self, _size: u64) -> u64 {
        1 << 62
    }
}
