//! One worker: a thread with a session, which takes jobs from its lane and orders from the keeper.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crossbeam_channel::{Receiver, SendError, unbounded};
use cryptoki::error::Error as CryptokiError;

use super::busy::Busy;
use super::error::{Class, Error, Failure, class, outcome, reason};
use super::lane::Next;
use super::sessions::{Control, Hand, Job, LaneName, Request, Serving, Shared};
use super::station::Station;

/// Starts a worker for this lane. It waits for [`Control::Enter`].
pub(super) fn hire(shared: &Arc<Shared>, lane: LaneName) -> Result<Hand, Error> {
    let (control, orders) = unbounded();
    let busy = Arc::new(Busy::new(&shared.profile.limits));
    let shut_out = Arc::new(AtomicBool::new(false));
    let worker = Worker {
        shared: Arc::clone(shared),
        lane,
        orders,
        busy: Arc::clone(&busy),
        shut_out: Arc::clone(&shut_out),
        station: None,
        epoch: 0,
        waiting: None,
    };
    let name = match lane {
        LaneName::Fast => "token-fast",
        LaneName::Private => "token-private",
        LaneName::Slow => "token-slow",
        LaneName::Making => "token-making",
    };
    let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || worker.run());
    let thread = thread.map_err(|error| Error::System(format!("a thread for the token: {error}")))?;
    Ok(Hand { lane, control, busy, shut_out, thread })
}

struct Worker {
    shared: Arc<Shared>,
    lane: LaneName,
    orders: Receiver<Control>,
    busy: Arc<Busy>,
    shut_out: Arc<AtomicBool>,
    /// `None` while the keeper recovers.
    station: Option<Station>,
    epoch: u64,
    /// A job that gets its second try as soon as there is a session.
    waiting: Option<Job>,
}

impl Worker {
    fn run(mut self) {
        loop {
            match self.next() {
                Next::Job(job) => self.serve(job),
                Next::Order(Control::Stop) | Next::End => break,
                Next::Order(order) => self.obey(order),
            }
            if self.busy.is_written_off() {
                break;
            }
        }
        // It may have been when it was told to stop.
        if self.busy.is_written_off() { self.vanish() } else { self.leave() }
    }

    fn next(&mut self) -> Next {
        if let Ok(order) = self.orders.try_recv() {
            return Next::Order(order);
        }
        if self.station.is_none() {
            return self.orders.recv().map_or(Next::End, Next::Order);
        }
        if let Some(job) = self.waiting.take() {
            return Next::Job(job);
        }
        self.shared.lane(self.lane).next(&self.orders)
    }

    fn obey(&mut self, order: Control) {
        // Who gave an order and has gone needs no answer.
        match order {
            Control::Leave(done) => {
                self.leave();
                let _ = done.send(());
            }
            Control::Enter(serving, done) => {
                let entered = self.enter(serving);
                // A replacement enters alone, with nobody waiting for its answer. That it gets no session is its own loss.
                if let Err(SendError(Err(error))) = done.send(entered)
                    && !error.is_refusal()
                {
                    self.shared.report_lost(self.epoch, error.to_string());
                }
            }
            Control::GiveUp => {
                if let Some(job) = self.waiting.take() {
                    job.answer(Err(Error::Unavailable(self.shared.status().to_string())));
                }
            }
            Control::Forget(cka_id, done) => {
                self.forget(&cka_id);
                // Or it may not be true: who asked hears that it is not known.
                if !self.busy.is_written_off() {
                    let _ = done.send(());
                }
            }
            // Handled by the loop, which ends.
            Control::Stop => {}
        }
    }

    fn enter(&mut self, serving: Serving) -> Result<(), Error> {
        // It was told twice while it was on its way.
        if self.station.is_some() && self.epoch == serving.epoch {
            return Ok(());
        }
        self.epoch = serving.epoch;
        self.busy.begin();
        let opened = Station::open(&self.shared, &self.busy, serving);
        self.busy.end();
        let refused = opened.as_ref().err().filter(|error| error.is_refusal());
        let was_shut_out = self.shut_out.swap(refused.is_some(), Ordering::AcqRel);
        if let Some(error) = refused.filter(|_| !was_shut_out) {
            tracing::warn!(lane = ?self.lane, reason = %error, "a worker gets no session; trying again every second");
        }
        opened.map(|station| self.station = Some(station))
    }

    fn serve(&mut self, mut job: Job) {
        job.place = None;
        if job.is_abandoned() {
            return;
        }
        if Instant::now() >= job.deadline {
            return job.answer(Err(Error::DeadlineExceeded));
        }
        let Some(station) = &mut self.station else {
            self.waiting = Some(job);
            return;
        };
        if let Request::Wrap { name, scheme, .. } = &job.request
            && job.retried
            && scheme.own_iv(&self.shared.profile.mechanisms).is_some()
        {
            // The first try may have used one. Ours is the same in both.
            self.shared.extra_ivs.add(name);
        }
        self.busy.begin();
        let outcome = station.run(&job.request, job.deadline);
        self.busy.end();
        match outcome {
            Ok(answer) => {
                self.leave_nothing_of(None);
                job.answer(Ok(answer));
            }
            Err(Failure::Final(error)) => {
                self.leave_nothing_of(Some(&job));
                job.answer(Err(error));
            }
            Err(Failure::Call(_)) if self.busy.is_written_off() => self.pass_on(job),
            Err(Failure::Call(error)) => self.mend(job, &error),
        }
    }

    /// The job of a worker that was written off gets its second try from another one.
    fn pass_on(&self, mut job: Job) {
        if !job.may_retry() {
            return job.answer(Err(Error::Unavailable(WRITTEN_OFF.to_owned())));
        }
        job.retried = true;
        self.shared.lane(self.lane).put(job);
    }

    /// After a failed call: what is lost is given up, and a job that makes nothing gets its one second try.
    fn mend(&mut self, mut job: Job, error: &CryptokiError) {
        if matches!(class(error), Class::LoginLost | Class::DeviceGone | Class::FreshSession) {
            self.shared.note_trouble();
        }
        match class(error) {
            Class::LoginLost | Class::DeviceGone => self.lose(reason(error)),
            // SoftHSM tells a login lost in the middle of a call by whatever it trips over, such as
            // CKR_KEY_TYPE_INCONSISTENT, so no other code is believed before the session has been looked at.
            _ if !self.is_logged_in() => self.lose(reason(error)),
            Class::FreshSession => {
                self.forget_key_of(&job);
                self.renew();
            }
            class => {
                self.leave_nothing_of(Some(&job));
                // SoftHSM tells a key that is destroyed in the middle of a call by whatever it trips over, too: the second
                // try searches for it.
                if job.retried || !uses_key(&job.request) && class != Class::HandleGone {
                    return job.answer(Err(outcome(error)));
                }
                self.forget_key_of(&job);
            }
        }
        if job.may_retry() {
            job.retried = true;
            self.waiting = Some(job);
        } else {
            job.answer(Err(outcome(error)));
        }
    }

    /// What can be read or wrapped may be left in the session, by an object that was not destroyed or by a transfer that
    /// failed, and goes with it.
    fn leave_nothing_of(&mut self, failed: Option<&Job>) {
        let keeps = self.station.as_ref().is_some_and(Station::keeps_an_object);
        let cut_short = failed.is_some_and(|job| matches!(job.request, Request::Transfer(_)));
        if (keeps || cut_short) && !self.busy.is_written_off() {
            self.renew();
        }
    }

    fn is_logged_in(&self) -> bool {
        self.busy.begin();
        let logged_in = self.station.as_ref().is_some_and(Station::is_logged_in);
        self.busy.end();
        logged_in
    }

    fn forget_key_of(&mut self, job: &Job) {
        let (Request::Wrap { name, .. } | Request::Unwrap { name, .. } | Request::Use { name, .. }) = &job.request
        else {
            return;
        };
        if let Some(station) = &mut self.station {
            station.forget_name(name);
        }
    }

    fn forget(&mut self, cka_id: &[u8; 20]) {
        self.busy.begin();
        let forgotten = self.station.as_mut().map_or(Ok(()), |station| station.forget(cka_id));
        self.busy.end();
        if let Err(error) = forgotten {
            self.lose(reason(&error));
        }
    }

    fn renew(&mut self) {
        let Some(station) = self.station.take() else { return };
        self.busy.begin();
        let renewed = station.renew();
        self.busy.end();
        match renewed {
            Ok(station) => self.station = Some(station),
            Err(error) => self.lose(reason(&error)),
        }
    }

    fn lose(&mut self, why: String) {
        // What a worker that was written off has lost is not the token.
        if self.busy.is_written_off() {
            return;
        }
        self.leave();
        self.shared.report_lost(self.epoch, why);
    }

    fn leave(&mut self) {
        self.busy.heed();
        if let Some(station) = self.station.take() {
            self.busy.begin();
            station.close();
            self.busy.end();
        }
    }

    /// Ends after having been written off. It closes its session, and is one of the lost until then: it may hold copies.
    fn vanish(mut self) {
        if let Some(job) = self.waiting.take() {
            self.shared.lane(self.lane).put(job);
        }
        self.busy.take_back();
        self.leave();
        self.shared.crew().dismiss(&self.busy);
        // From when it was one of the crew. Nobody gives it any more.
        while let Ok(order) = self.orders.try_recv() {
            match order {
                Control::Leave(done) | Control::Forget(_, done) => drop(done.send(())),
                Control::Enter(..) | Control::GiveUp | Control::Stop => {}
            }
        }
    }
}

/// Whether the request uses a key that the worker holds.
fn uses_key(request: &Request) -> bool {
    matches!(request, Request::Wrap { .. } | Request::Unwrap { .. } | Request::Use { .. })
}

const WRITTEN_OFF: &str = "its call did not return in time";
