//! gzip on several cores: one gzip member whose blocks are compressed independently of each other, as pigz does.
//!
//! The crate for this, gzp, needs four more crates, two of them in C.

use std::collections::VecDeque;
use std::io::{self, BufRead, Write};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Mutex, PoisonError};
use std::thread;

use flate2::{Compress, Compression, Crc, FlushCompress};

/// Bytes. Larger blocks gain nothing, because deflate looks back only 32 KiB.
const BLOCK_LEN: usize = 256 << 10;
/// Magic, deflate, no flags, no time, no hint, Unix.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
/// An empty last block of the deflate stream.
const LAST: [u8; 2] = [3, 0];

/// A piece of the input on its way through a worker; its buffers are reused.
#[derive(Default)]
struct Block {
    plain: Vec<u8>,
    packed: Vec<u8>,
    crc: Crc,
}

/// A block, and the channel on which the worker returns it.
type Job = (Block, SyncSender<io::Result<Block>>);

/// Compresses `input` to its end. Memory is bounded by a few blocks for each worker.
pub fn compress(
    input: &mut impl BufRead,
    output: &mut impl Write,
    level: u32,
    workers: usize,
) -> io::Result<()> {
    let (jobs, queue) = mpsc::sync_channel::<Job>(workers);
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(&queue, level));
        }
        // Moved here, so that the workers end when this closure returns, also after an error.
        let jobs = jobs;
        feed(input, output, &jobs, 2 * workers)
    })
}

/// Sends blocks to the workers and writes them in their order as they return.
fn feed(
    input: &mut impl BufRead,
    output: &mut impl Write,
    jobs: &SyncSender<Job>,
    max_under_way: usize,
) -> io::Result<()> {
    output.write_all(&HEADER)?;
    let mut under_way = VecDeque::<Receiver<io::Result<Block>>>::new();
    let mut spare = Vec::<Block>::new();
    let mut whole = Crc::new();
    let mut write_oldest =
        |under_way: &mut VecDeque<Receiver<io::Result<Block>>>| -> io::Result<Option<Block>> {
            let Some(oldest) = under_way.pop_front() else { return Ok(None) };
            let block = oldest.recv().map_err(io::Error::other)??;
            output.write_all(&block.packed)?;
            whole.combine(&block.crc);
            Ok(Some(block))
        };
    loop {
        let mut block = spare.pop().unwrap_or_default();
        fill(input, &mut block.plain)?;
        if block.plain.is_empty() {
            break;
        }
        let (back, done) = mpsc::sync_channel(1);
        jobs.send((block, back)).map_err(io::Error::other)?;
        under_way.push_back(done);
        if under_way.len() >= max_under_way {
            spare.extend(write_oldest(&mut under_way)?);
        }
    }
    while write_oldest(&mut under_way)?.is_some() {}
    output.write_all(&LAST)?;
    output.write_all(&whole.sum().to_le_bytes())?;
    // RFC 1952: the length modulo 2^32.
    output.write_all(&whole.amount().to_le_bytes())
}

fn fill(input: &mut impl BufRead, plain: &mut Vec<u8>) -> io::Result<()> {
    plain.clear();
    plain.reserve_exact(BLOCK_LEN);
    while plain.len() < BLOCK_LEN {
        let ready = input.fill_buf()?;
        if ready.is_empty() {
            break;
        }
        let taken = ready.len().min(BLOCK_LEN - plain.len());
        plain.extend_from_slice(&ready[..taken]);
        input.consume(taken);
    }
    Ok(())
}

/// Compresses blocks until there are no more.
fn work(queue: &Mutex<Receiver<Job>>, level: u32) {
    let mut deflate = Compress::new(Compression::new(level), false);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((mut block, back)) = job else { break };
        let packed = pack(&mut deflate, &mut block);
        // The receiver is gone after an error.
        let _ = back.send(packed.map(|()| block));
    }
}

/// Compresses a block to a byte boundary, so that the next can follow without knowing it.
fn pack(deflate: &mut Compress, block: &mut Block) -> io::Result<()> {
    block.crc = Crc::new();
    block.crc.update(&block.plain);
    block.packed.clear();
    deflate.reset();
    loop {
        block.packed.reserve(BLOCK_LEN);
        let rest = usize::try_from(deflate.total_in()).map_or(&[][..], |done| &block.plain[done..]);
        deflate.compress_vec(rest, &mut block.packed, FlushCompress::Sync)?;
        let all_in = deflate.total_in() == block.plain.len() as u64;
        if all_in && block.packed.len() < block.packed.capacity() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    use flate2::bufread::GzDecoder;

    /// Compressible, and different in each block.
    fn text(length: usize) -> Vec<u8> {
        let lines = (0u64..)
            .flat_map(|n| format!("line {n}, {:x}\n", n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes());
        lines.take(length).collect()
    }

    fn packed(plain: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        compress(&mut &plain[..], &mut packed, 2, 2).unwrap();
        packed
    }

    #[test]
    fn blocks_that_are_compressed_apart_are_one_gzip_member() {
        for length in [0, 1, BLOCK_LEN - 1, BLOCK_LEN, BLOCK_LEN + 1, 9 * BLOCK_LEN + 77] {
            let plain = text(length);
            let packed = packed(&plain);
            let mut rest = packed.as_slice();
            let mut read = Vec::new();
            // It reads a single member: were there several, it would stop after the first.
            GzDecoder::new(&mut rest).read_to_end(&mut read).unwrap();
            assert!(read == plain && rest.is_empty(), "{length} bytes");
        }
    }

    #[test]
    fn incompressible_data_grows_by_less_than_one_percent() {
        let mut seed = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed.to_be_bytes()[0]
        })
        .take(3 * BLOCK_LEN)
        .collect();
        assert!(packed(&noise).len() < noise.len() + noise.len() / 100);
    }

    /// Accepts so many bytes, then is full.
    struct Full(usize);

    impl Write for Full {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_an_error_wherever_it_fills_up() {
        let plain = text(9 * BLOCK_LEN);
        let length = packed(&plain).len();
        for space in [0, 10, length / 2, length - 1] {
            let error = compress(&mut plain.as_slice(), &mut Full(space), 2, 2).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{space} of {length}");
        }
        compress(&mut plain.as_slice(), &mut Full(length), 2, 2).unwrap();
    }
}
