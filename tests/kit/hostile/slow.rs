//! One byte now and then, often enough that no request times out.

use std::thread::sleep;
use std::time::Duration;

use crate::Habit;

pub struct Slow;

impl Habit for Slow {
    fn read(&mut self, mut bytes: Vec<u8>, _requested: u32) -> Vec<u8> {
        sleep(Duration::from_millis(500));
        bytes.truncate(1);
        bytes
    }
}
