//! Random bytes of the token, fetched in blocks before they are needed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroize;

use crate::model::Secret;

/// Bytes that a refill brings.
pub(super) const BLOCK: usize = 32 * 1024;

/// Token random bytes in stock. Each is given out once and wiped here at once.
#[derive(Default)]
pub(super) struct Pool {
    stock: Mutex<Stock>,
    refilling: AtomicBool,
}

#[derive(Default)]
struct Stock {
    blocks: VecDeque<Secret>,
    /// How much of the first block is given out and wiped.
    used: usize,
    /// Bytes left in all blocks.
    left: usize,
}

impl Pool {
    /// `len` bytes, or nothing if the stock has fewer.
    pub fn take(&self, len: usize) -> Option<Secret> {
        self.stock().take(len)
    }

    /// Puts a block into stock.
    pub fn put(&self, block: Secret) {
        self.stock().put(block);
    }

    /// An order for a refill, if less than a block is left and none is on its way.
    pub fn order(self: &Arc<Self>) -> Option<Order> {
        let wanted = self.stock().left < BLOCK && !self.refilling.swap(true, Ordering::AcqRel);
        wanted.then(|| Order { pool: Arc::clone(self) })
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        // A panic inside could at worst lose bytes: they are wiped in the same step that hands them out.
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An ordered refill. However it ends, even unserved, dropping it allows the next one.
pub(super) struct Order {
    pool: Arc<Pool>,
}

impl Order {
    /// The ordered block.
    pub fn deliver(&self, block: Secret) {
        self.pool.put(block);
    }
}

impl Drop for Order {
    fn drop(&mut self) {
        self.pool.refilling.store(false, Ordering::Release);
    }
}

impl Stock {
    fn take(&mut self, len: usize) -> Option<Secret> {
        if len > self.left {
            return None;
        }
        let mut taken = Secret::zeroed(len);
        let mut rest = taken.expose_mut();
        while !rest.is_empty() {
            let block = self.blocks.front_mut()?;
            let unused = &mut block.expose_mut()[self.used..];
            let count = unused.len().min(rest.len());
            rest[..count].copy_from_slice(&unused[..count]);
            unused[..count].zeroize();
            rest = &mut rest[count..];
            self.advance(count);
        }
        Some(taken)
    }

    fn advance(&mut self, count: usize) {
        self.used += count;
        self.left -= count;
        if self.blocks.front().is_some_and(|block| block.expose().len() == self.used) {
            self.blocks.pop_front();
            self.used = 0;
        }
    }

    fn put(&mut self, block: Secret) {
        self.left += block.expose().len();
        self.blocks.push_back(block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_given_out_once_and_wiped() {
        let pool = Pool::default();
        assert!(pool.take(1).is_none());
        pool.put(Secret::new((1..=10).collect()));
        pool.put(Secret::new((11..=20).collect()));
        assert_eq!(pool.take(7).unwrap().expose(), [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(pool.stock().blocks[0].expose(), [0, 0, 0, 0, 0, 0, 0, 8, 9, 10]);
        assert_eq!(pool.take(7).unwrap().expose(), [8, 9, 10, 11, 12, 13, 14]);
        assert!(pool.take(7).is_none(), "six are left");
        assert_eq!(pool.take(6).unwrap().expose(), [15, 16, 17, 18, 19, 20]);
        assert!(pool.take(1).is_none());
    }

    #[test]
    fn one_refill_is_ordered_at_a_time() {
        let pool = Arc::new(Pool::default());
        let order = pool.order().unwrap();
        assert!(pool.order().is_none(), "one is on its way");
        drop(order);
        let order = pool.order().expect("the last one came to nothing");
        order.deliver(Secret::zeroed(BLOCK));
        drop(order);
        assert!(pool.order().is_none(), "enough in stock");
        pool.take(1).unwrap();
        assert!(pool.order().is_some());
    }
}
