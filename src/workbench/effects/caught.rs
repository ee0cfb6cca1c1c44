//! Panics in the threads of the workbench: the one whose effect broke down says so and goes on with the next.

use std::any::Any;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Mutex;

/// Where the last panic outside the main thread was. Work may be shared out to other threads, so it is not kept by thread.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Keeps the place of a panic for who catches it.
pub fn note(panic: &PanicHookInfo) {
    let place = panic.location().map(|place| format!("{}:{}", place.file(), place.line()));
    *PLACE.lock().unwrap_or_else(|poison| poison.into_inner()) = place;
}

/// Does something that may break down; gives why and where, if it did.
pub fn catch(work: impl FnOnce()) -> Option<String> {
    let payload = catch_unwind(AssertUnwindSafe(work)).err()?;
    let place = PLACE.lock().unwrap_or_else(|poison| poison.into_inner()).take();
    let place = place.map_or_else(String::new, |place| format!(" at {place}"));
    Some(format!("{}{place}", reason(payload.as_ref())))
}

fn reason(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".into())
}
