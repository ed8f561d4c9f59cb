//! Configs: any text is read, expanded and typed, or is refused with a fault that can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidegate::config::Config;
use tidegate::config::expand::Surroundings;
use tidegate::config::load::load;

/// No environment but two variables, one of which refers to the other, and one file that refers to itself.
struct Closed;

impl Surroundings for Closed {
    fn env(&self, name: &str) -> Option<String> {
        match name {
            "A" => Some("localhost:4317".to_owned()),
            "B" => Some("[1, ${A}, {b: ${B}}]".to_owned()),
            _ => None,
        }
    }

    fn file(&self, path: &str) -> std::io::Result<String> {
        match path {
            "f" => Ok("x: ${file:f}".to_owned()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (source, set) = text.split_once('\0').unwrap_or((text, ""));
    let sets: &[String] = if set.is_empty() { &[] } else { &[set.to_owned()] };
    let fault = match load(&[format!("yaml:{source}")], sets, &Closed) {
        Ok(loaded) => match Config::new(loaded) {
            Ok(config) => {
                let _ = config.value().to_string();
                return;
            }
            Err(fault) => fault,
        },
        Err(fault) => fault,
    };
    assert!(!fault.to_string().is_empty());
});
