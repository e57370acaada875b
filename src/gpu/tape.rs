//! What one thread launches on one device, written down to be launched again on other buffers.
//!
//! A tape knows buffers by slots. A buffer that is taken while it is written gets a slot that is filled from the
//! pool again at every replay, and emptied where it was let go. One that was there before, or was uploaded, is
//! fixed: the tape holds it. What else a slot is filled with, the host says in between.

use super::Gpu;
use super::pool::Buffer;
use super::shader::Pipeline;
use crate::error::{Error, Result};
use rustc_hash::FxHashMap;
use std::cell::RefCell;
use std::sync::Arc;

/// A buffer, as a tape knows it.
pub(crate) type Slot = usize;

/// A finished tape.
pub(crate) struct Tape {
    events: Vec<Event>,
    /// What the slots hold before the first event: what is fixed.
    fixed: Vec<Option<Arc<Buffer>>>,
}

enum Event {
    Take { slot: Slot, op: &'static str, bytes: u64, half: bool },
    Free(Slot),
    Launch { pipeline: Arc<Pipeline>, params: Box<[u8]>, slots: Box<[Slot]>, groups: [u32; 3] },
    Host(Host),
}

/// What the host does between two launches.
pub(crate) type Host = Box<dyn Fn(&mut Filled) -> Result<()> + Send + Sync>;

/// What the slots of a tape hold during a replay.
pub(crate) struct Filled(Vec<Option<Arc<Buffer>>>);

impl Filled {
    /// The buffer in a slot.
    ///
    /// Errors: [`Error::Capture`] if nothing is in it.
    pub fn get(&self, slot: Slot) -> Result<&Arc<Buffer>> {
        let found = self.0.get(slot).and_then(Option::as_ref);
        found.ok_or_else(|| Error::capture("replay", "a buffer that is gone", "Record the function again."))
    }

    /// Fills a slot.
    pub fn set(&mut self, slot: Slot, buffer: Arc<Buffer>) {
        self.0[slot] = Some(buffer);
    }
}

/// A tape that is being written.
struct Writing {
    gpu: Gpu,
    tape: Tape,
    slots: FxHashMap<u64, Slot>,
    /// Which slots a launch may write: those whose buffers are taken on the tape.
    own: Vec<bool>,
    paused: bool,
    /// Why there will be no tape.
    failure: Option<Error>,
}

thread_local! {
    static WRITING: RefCell<Option<Writing>> = const { RefCell::new(None) };
}

impl Writing {
    fn slot(&mut self, lease: u64, own: bool, fixed: Option<Arc<Buffer>>) -> Slot {
        let slot = self.own.len();
        self.own.push(own);
        self.tape.fixed.push(fixed);
        self.slots.insert(lease, slot);
        slot
    }

    /// The slot of a buffer, fixed if it was not known.
    fn of(&mut self, buffer: &Buffer) -> Slot {
        match self.slots.get(&buffer.lease()) {
            Some(&slot) => slot,
            None => self.slot(buffer.lease(), false, buffer.handle()),
        }
    }

    fn fail(&mut self, error: Error) {
        self.failure.get_or_insert(error);
    }
}

/// Works on the tape that this thread writes, if it does; not while it is [`paused`].
fn writing<T>(work: impl FnOnce(&mut Writing) -> T) -> Option<T> {
    let at = |cell: &RefCell<Option<Writing>>| {
        cell.try_borrow_mut().ok()?.as_mut().filter(|writing| !writing.paused).map(work)
    };
    WRITING.try_with(at).ok().flatten()
}

/// Whether a tape is being written.
pub(crate) fn active() -> bool {
    writing(|_| ()).is_some()
}

fn on<T>(gpu: &Gpu, work: impl FnOnce(&mut Writing) -> T) -> Option<T> {
    writing(|writing| writing.gpu.same(gpu).then(|| work(writing))).flatten()
}

/// Notes that a buffer was taken from the pool.
pub(super) fn taken(gpu: &Gpu, op: &'static str, buffer: &Buffer) {
    on(gpu, |writing| {
        let slot = writing.slot(buffer.lease(), true, None);
        let (bytes, half) = (buffer.bytes(), buffer.is_half());
        writing.tape.events.push(Event::Take { slot, op, bytes, half });
    });
}

/// Notes that a buffer went back to the pool, in a pause too.
pub(super) fn dropped(lease: u64) {
    let _ = WRITING.try_with(|cell| {
        let Ok(mut cell) = cell.try_borrow_mut() else { return };
        let Some(writing) = cell.as_mut() else { return };
        if let Some(&slot) = writing.slots.get(&lease).filter(|&&slot| writing.own[slot]) {
            writing.tape.events.push(Event::Free(slot));
        }
    });
}

/// Notes that a buffer was filled from the host: it is fixed, and need not be filled again.
pub(super) fn uploaded(gpu: &Gpu, buffer: &Buffer) {
    on(gpu, |writing| {
        let slot = writing.of(buffer);
        let events = &mut writing.tape.events;
        let last = events.iter().rposition(|event| match event {
            Event::Take { slot: taken, .. } => *taken == slot,
            Event::Launch { slots, .. } => slots.contains(&slot),
            _ => false,
        });
        match last.map(|at| (at, &events[at])) {
            Some((at, Event::Take { .. })) => {
                events.remove(at);
                writing.own[slot] = false;
                writing.tape.fixed[slot] = buffer.handle();
            }
            _ => writing.fail(Error::capture(
                "upload",
                "data from the host into a tensor that is there already",
                "Make it before, and pass it as an input.",
            )),
        }
    });
}

/// Notes a launch.
pub(super) fn launched(
    gpu: &Gpu,
    pipeline: &Arc<Pipeline>,
    params: &[u8],
    buffers: &[&Buffer],
    groups: [u32; 3],
) -> Result<()> {
    on(gpu, |writing| {
        let slots: Box<[Slot]> = buffers.iter().map(|buffer| writing.of(buffer)).collect();
        let mut written = slots.iter().zip(&pipeline.reflection.writable).filter(|(_, writable)| **writable);
        if written.any(|(&slot, _)| !writing.own[slot]) {
            return Err(Error::capture(
                "launch",
                "a tensor from outside that is overwritten in place",
                "Return what is computed, and keep it outside.",
            ));
        }
        let (pipeline, params) = (pipeline.clone(), params.into());
        writing.tape.events.push(Event::Launch { pipeline, params, slots, groups });
        Ok(())
    })
    .unwrap_or(Ok(()))
}

/// An error if a tape of this device is being written, for what would not be the same at a replay.
pub(crate) fn refuse(gpu: &Gpu, op: &'static str, why: &str) -> Result<()> {
    match on(gpu, |_| ()) {
        None => Ok(()),
        Some(()) => Err(Error::capture(
            op,
            format!("in a function that is recorded to be replayed: {why}"),
            "Do it outside, and pass the function what it needs as an input.",
        )),
    }
}

/// A slot that the host fills, for a buffer under a lease of its own: see [`Buffer::alias`].
pub(crate) fn bound(alias: &Buffer) -> Option<Slot> {
    writing(|writing| writing.slot(alias.lease(), false, None))
}

/// The slot of a buffer, if a tape is being written.
pub(crate) fn slot(buffer: &Buffer) -> Option<Slot> {
    writing(|writing| writing.of(buffer))
}

/// Whether a replay will find something else in a buffer: it is computed on the tape, or bound by the host.
pub(crate) fn moves(buffer: &Buffer) -> bool {
    let known = |writing: &mut Writing| {
        writing.slots.get(&buffer.lease()).is_some_and(|&slot| writing.tape.fixed[slot].is_none())
    };
    writing(known).unwrap_or(false)
}

/// Whether the contents of a slot are computed on the tape.
pub(crate) fn is_computed(slot: Slot) -> bool {
    writing(|writing| writing.own[slot]).unwrap_or(false)
}

/// Notes what the host does here at every replay.
pub(crate) fn host(host: Host) {
    writing(|writing| writing.tape.events.push(Event::Host(host)));
}

/// Runs `work` without noting what it launches.
pub(crate) fn paused<T>(work: impl FnOnce() -> T) -> T {
    struct Resume(bool);
    impl Drop for Resume {
        fn drop(&mut self) {
            pause(self.0);
        }
    }
    fn pause(on: bool) -> bool {
        WRITING.with(|cell| {
            cell.borrow_mut().as_mut().is_some_and(|writing| std::mem::replace(&mut writing.paused, on))
        })
    }
    let _resume = Resume(pause(true));
    work()
}

/// Ends the tape when it goes, in a panic or after an error too.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        // What it held is let go of once nobody is writing.
        drop(WRITING.with(RefCell::take));
    }
}

impl Tape {
    /// Runs `work` and writes down what it launches on this thread.
    ///
    /// Errors: [`Error::Capture`] if a tape is being written already, or for what cannot be replayed; those of
    /// `work`.
    pub fn write<T>(gpu: &Gpu, work: impl FnOnce() -> Result<T>) -> Result<(T, Tape)> {
        if WRITING.with_borrow(Option::is_some) {
            return Err(Error::capture(
                "capture",
                "one within another",
                "Record the outer function alone: it contains the inner one.",
            ));
        }
        let tape = Tape { events: vec![], fixed: vec![] };
        let (slots, own) = (FxHashMap::default(), vec![]);
        let writing = Writing { gpu: gpu.clone(), tape, slots, own, paused: false, failure: None };
        WRITING.replace(Some(writing));
        let end = End;
        let done = work()?;
        let written = WRITING.take();
        drop(end);
        match written {
            Some(Writing { failure: None, tape, .. }) => Ok((done, tape)),
            Some(Writing { failure: Some(error), .. }) => Err(error),
            None => Err(Error::capture("capture", "a tape that ended early", "Record the function again.")),
        }
    }

    /// Does it all again, and returns what the slots hold then.
    ///
    /// Errors: those of what the host does; [`Error::OutOfMemory`].
    pub fn replay(&self, gpu: &Gpu, bound: impl IntoIterator<Item = (Slot, Arc<Buffer>)>) -> Result<Filled> {
        let mut filled = Filled(self.fixed.clone());
        bound.into_iter().for_each(|(slot, buffer)| filled.set(slot, buffer));
        for event in &self.events {
            match event {
                Event::Take { slot, op, bytes, half } => filled.set(*slot, gpu.take(op, *bytes, *half)?),
                Event::Free(slot) => filled.0[*slot] = None,
                Event::Launch { pipeline, params, slots, groups } => {
                    let buffers: Result<Vec<&Buffer>> =
                        slots.iter().map(|&slot| filled.get(slot).map(|buffer| &**buffer)).collect();
                    gpu.launch(pipeline, params, &buffers?, *groups);
                }
                Event::Host(host) => host(&mut filled)?,
            }
        }
        Ok(filled)
    }
}
