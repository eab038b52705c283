//! One queue before the sessions, and the workers that wait at its end.
//!
//! A job wakes the worker that has waited for the shortest time, and wakes it after the lock is given back. A channel's
//! `select` costs twice as many calls of the operating system for the same.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Thread;

use crossbeam_channel::{Receiver, TryRecvError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::Error;
use super::sessions::{Control, Job, STOPPED};

/// One queue.
pub(super) struct Lane {
    places: Arc<Semaphore>,
    queue: Mutex<Queue>,
}

/// What a worker is to do next.
pub(super) enum Next {
    /// An order of the keeper or of another worker.
    Order(Control),
    /// A job of the lane.
    Job(Job),
    /// Nothing more: nobody can give it orders.
    End,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Workers that wait. One that was woken for a job has been taken out.
    idle: Vec<Thread>,
}

impl Lane {
    /// A lane in which `places` jobs may wait.
    pub fn new(places: usize) -> Lane {
        Lane { places: Arc::new(Semaphore::new(places)), queue: Mutex::default() }
    }

    /// A place in the queue, waited for until the deadline.
    pub async fn place(&self, until: tokio::time::Instant) -> Result<OwnedSemaphorePermit, Error> {
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => Ok(place),
            Err(_) => tokio::time::timeout_at(until, Arc::clone(&self.places).acquire_owned())
                .await
                .map_err(|_| Error::Throttled)?
                // The semaphore is never closed.
                .map_err(|_| Error::Unavailable(STOPPED.to_owned())),
        }
    }

    /// Puts a job at the end, for the next worker that is free.
    pub fn put(&self, job: Job) {
        let mut queue = self.queue();
        queue.jobs.push_back(job);
        wake_one(queue);
    }

    /// What the calling worker is to do next; waits for it. Orders go before jobs, or a full lane would hold them up.
    ///
    /// Whoever gives an order has to unpark the worker's thread behind it.
    pub fn next(&self, orders: &Receiver<Control>) -> Next {
        let own = std::thread::current();
        loop {
            let mut queue = self.queue();
            queue.idle.retain(|idle| idle.id() != own.id());
            let order = orders.try_recv();
            if !matches!(order, Err(TryRecvError::Empty)) {
                // This worker may have been woken for a job, which another one has to do now.
                wake_one(queue);
                return order.map_or(Next::End, Next::Order);
            }
            if let Some(job) = queue.jobs.pop_front() {
                return Next::Job(job);
            }
            queue.idle.push(own.clone());
            drop(queue);
            std::thread::park();
        }
    }

    /// Takes out every job that waits.
    pub fn drain(&self) -> VecDeque<Job> {
        std::mem::take(&mut self.queue().jobs)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Changes in single steps, so that a panic elsewhere leaves nothing half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Wakes a worker that waits, if a job does, too.
fn wake_one(mut queue: MutexGuard<'_, Queue>) {
    let idle = if queue.jobs.is_empty() { None } else { queue.idle.pop() };
    // Or it would wait for the lock at once.
    drop(queue);
    if let Some(idle) = idle {
        idle.unpark();
    }
}
