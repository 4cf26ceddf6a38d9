//! What a client wants and the command did not take yet, in order; but what is not input passes input that waits for a
//! command which does not read.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::engine::Size;

/// How many bytes of input may wait, and one message at most beyond them.
const MOST_BYTES: usize = 64 * 1024;

/// How many things may wait, however small.
const MOST: usize = 256;

/// What a client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Order {
    /// Input.
    Bytes(Bytes),
    /// There is no more of it.
    End,
    Signal(u8),
    Resize(Size),
}

/// Given by whoever is connected, taken by whoever has the command.
#[derive(Default)]
pub(super) struct Orders {
    waiting: Mutex<Waiting>,
    given: Notify,
    taken: Notify,
}

#[derive(Default)]
struct Waiting {
    orders: VecDeque<Order>,
    bytes: usize,
}

impl Orders {
    /// Gives one where there is room; else it comes back.
    pub(super) fn try_give(&self, order: Order) -> Result<(), Order> {
        let mut waiting = self.lock();
        if waiting.orders.len() >= MOST {
            return Err(order);
        }
        if let Order::Bytes(bytes) = &order {
            if waiting.bytes >= MOST_BYTES {
                return Err(order);
            }
            waiting.bytes += bytes.len();
        }
        waiting.orders.push_back(order);
        self.given.notify_one();
        Ok(())
    }

    /// Gives one once there is room.
    pub(super) async fn give(&self, mut order: Order) {
        while let Err(back) = self.try_give(order) {
            order = back;
            self.taken.notified().await;
        }
    }

    /// Takes the next, once there is one. May be dropped and asked again.
    pub(super) async fn take(&self) -> Order {
        self.take_at(|_| Some(0)).await
    }

    /// Takes the next that need not wait for input to be read, once there is one, in the same way.
    pub(super) async fn take_urgent(&self) -> Order {
        self.take_at(|orders| orders.iter().position(|order| matches!(order, Order::Signal(_) | Order::Resize(_))))
            .await
    }

    async fn take_at(&self, place: impl Fn(&VecDeque<Order>) -> Option<usize>) -> Order {
        loop {
            {
                let mut waiting = self.lock();
                if let Some(order) = place(&waiting.orders).and_then(|place| waiting.orders.remove(place)) {
                    if let Order::Bytes(bytes) = &order {
                        waiting.bytes -= bytes.len();
                    }
                    self.taken.notify_one();
                    return order;
                }
            }
            self.given.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_signal_passes_what_waits_and_input_keeps_its_order() {
        let orders = Orders::default();
        let bytes = |bytes: &'static [u8]| Order::Bytes(Bytes::from_static(bytes));
        for order in [bytes(b"a"), Order::Signal(2), bytes(b"b"), Order::Signal(15), Order::End] {
            orders.give(order).await;
        }
        assert_eq!(orders.take_urgent().await, Order::Signal(2));
        assert_eq!(orders.take().await, bytes(b"a"));
        assert_eq!(orders.take_urgent().await, Order::Signal(15));
        assert_eq!((orders.take().await, orders.take().await), (bytes(b"b"), Order::End));
        // Neither much input nor many of all.
        for (order, fit) in [(Order::Bytes(vec![0; 40_000].into()), 2), (Order::Signal(1), MOST)] {
            for _ in 0..fit {
                assert_eq!(orders.try_give(order.clone()), Ok(()));
            }
            assert_eq!(orders.try_give(bytes(b"x")), Err(bytes(b"x")));
            tokio::join!(orders.give(bytes(b"x")), async {
                for _ in 0..fit {
                    assert_eq!(orders.take().await, order);
                }
            });
            assert_eq!(orders.take().await, bytes(b"x"));
        }
    }
}
