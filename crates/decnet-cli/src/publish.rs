//! From lines of JSON to events the bus has taken responsibility for.
//!
//! Each event gets its id here, once. A batch is sent with the same ids until the server says
//! 202, so neither a lost answer nor a killed server loses or doubles an event.

mod batch;
mod lines;
mod pace;
mod sender;
mod template;

pub(crate) use self::{
    batch::{Batcher, Item},
    lines::{Follow, Line, read_lines},
    pace::Pace,
    sender::{Refused, Report, Sender, Watcher},
    template::TopicTemplate,
};
