//! Answers on the wire, whole, broken off, or with a flipped byte.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use super::answer::{Answer, Payload};

/// hyper writes out what it has when the body pauses, and forgets it when the body fails. So
/// there is a pause before a break, or the bytes before it would never leave.
const PAUSE_BEFORE_BREAK: Duration = Duration::from_millis(20);

/// What is done to an answer's body.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Harm {
    pub(super) break_after: Option<u64>,
    pub(super) flip: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Reply {
    payload: Payload,
    position: u64,
    end: u64,
    /// How many bytes were sent.
    sent: u64,
    harm: Harm,
    pause: Option<Pin<Box<Sleep>>>,
}

/// None if a status or header that a fault asked for cannot be sent.
pub(super) fn response(answer: Answer, harm: Harm) -> Option<Response<Reply>> {
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let (position, end) = match &answer.body {
        Payload::Bytes(bytes) => (0, bytes.len() as u64),
        Payload::Content(_, range) => (range.start, range.end),
    };
    let reply = Reply {
        payload: answer.body,
        position,
        end,
        sent: 0,
        harm,
        pause: None,
    };
    response.body(reply).ok()
}

impl Reply {
    fn next(&mut self) -> Result<Bytes, io::Error> {
        let allowed = self
            .harm
            .break_after
            .map_or(u64::MAX, |after| after - self.sent);
        let end = self.end.min(self.position.saturating_add(allowed));
        let bytes = match &self.payload {
            Payload::Bytes(bytes) => bytes.slice(self.position as usize..end as usize),
            Payload::Content(content, _) => {
                let read = content.read(self.position..end);
                read.ok_or_else(|| io::Error::other("the bytes were not kept"))?
            }
        };
        let first = self.sent;
        self.position += bytes.len() as u64;
        self.sent += bytes.len() as u64;
        match self.harm.flip.filter(|at| (first..self.sent).contains(at)) {
            Some(at) => {
                let mut harmed = bytes.to_vec();
                harmed[(at - first) as usize] ^= 1;
                Ok(harmed.into())
            }
            None => Ok(bytes),
        }
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.position >= this.end {
            return Poll::Ready(None);
        }
        if this
            .harm
            .break_after
            .is_some_and(|after| this.sent >= after)
        {
            let pause = this
                .pause
                .get_or_insert_with(|| Box::pin(sleep(PAUSE_BEFORE_BREAK)));
            ready!(pause.as_mut().poll(cx));
            return Poll::Ready(Some(Err(io::Error::other("broken off by a fault"))));
        }
        Poll::Ready(Some(this.next().map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.position >= self.end
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.end.saturating_sub(self.position))
    }
}
