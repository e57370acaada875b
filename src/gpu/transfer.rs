//! Between host and device: uploads, readback, and waiting.

use super::pool::Buffer;
use super::{Gpu, tape};
use crate::error::{Error, Result};

impl Gpu {
    /// Writes host data into a buffer, after all recorded work that reads it.
    pub(crate) fn upload(&self, buffer: &Buffer, bytes: &[u8]) {
        tape::uploaded(self, buffer);
        let mut recorder = self.recorder();
        if buffer.last_use() == recorder.serial {
            recorder.submit(&self.0, None);
        }
        let (whole, rest) = bytes.split_at(bytes.len() / 4 * 4);
        self.0.queue.write_buffer(buffer.raw(), buffer.start(), whole);
        if !rest.is_empty() {
            // Copies are of whole words: an odd f16 is written with a zero behind it.
            let mut word = [0; 4];
            word[..rest.len()].copy_from_slice(rest);
            self.0.queue.write_buffer(buffer.raw(), buffer.start() + whole.len() as u64, &word);
        }
    }

    /// Copies bytes from one buffer to another, each from a multiple of four on, in its turn among what is launched.
    /// At the end of a buffer they come by fours.
    ///
    /// Errors: [`Error::Capture`] while a tape is written, which knows of launches alone.
    pub(crate) fn copy(&self, from: (&Buffer, u64), to: (&Buffer, u64), bytes: u64) -> Result<()> {
        tape::refuse(self, "copy", "a copy is no launch")?;
        self.recorder().copy(&self.0, from, to, bytes.next_multiple_of(4));
        Ok(())
    }

    /// Hands all recorded work to the device without waiting for it.
    pub fn flush(&self) {
        self.recorder().submit(&self.0, None);
    }

    /// Waits until the device has finished everything recorded so far.
    pub fn wait(&self) -> Result<()> {
        self.flush();
        let polled = self.0.blocked(|| self.0.device.poll(wgpu::PollType::wait_indefinitely()));
        self.health("wait")?;
        polled.map(|_| ()).map_err(|e| {
            Error::device_lost("wait", e.to_string(), "Create the device again and resume from a checkpoint.")
        })
    }

    /// Reads bytes back. The future completes once the device is polled past the copy.
    pub(crate) fn read(&self, buffer: &Buffer, offset: u64, bytes: u64) -> Result<Readback> {
        tape::refuse(self, "read", "the values are not there yet")?;
        let staging = self.0.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("readback"),
            size: bytes,
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        self.recorder().submit(&self.0, Some((buffer, offset, &staging, bytes)));
        let (sender, receiver) = futures_intrusive::channel::shared::oneshot_channel();
        staging.map_async(wgpu::MapMode::Read, .., move |mapped| {
            let _ = sender.send(mapped);
        });
        self.health("read")?;
        Ok(Readback { gpu: self.clone(), staging, receiver })
    }
}

/// A read that is under way.
pub(crate) struct Readback {
    gpu: Gpu,
    staging: wgpu::Buffer,
    receiver:
        futures_intrusive::channel::shared::OneshotReceiver<std::result::Result<(), wgpu::BufferAsyncError>>,
}

impl Readback {
    /// The bytes, once they are there. Somebody must poll the device: a browser does, elsewhere
    /// [`wait`](Self::wait) does.
    pub async fn bytes(self) -> Result<Vec<u8>> {
        let mapped = self.receiver.receive().await;
        self.gpu.health("read")?;
        let view = match mapped {
            Some(Ok(())) => self.staging.get_mapped_range(..).map_err(|e| e.to_string()),
            other => Err(format!("the copy could not be mapped ({other:?})")),
        };
        match view {
            Ok(view) => Ok(view.to_vec()),
            Err(given) => Err(Error::device_lost(
                "read",
                given,
                "Create the device again and resume from a checkpoint.",
            )),
        }
    }

    /// The bytes, blocking until they are there.
    pub fn wait(self) -> Result<Vec<u8>> {
        let inner = &self.gpu.0;
        let _ = inner.blocked(|| inner.device.poll(wgpu::PollType::wait_indefinitely()));
        pollster::block_on(self.bytes())
    }
}
