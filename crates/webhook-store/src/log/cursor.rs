use std::{fmt, str::FromStr};

use webhook_model::UtcTime;

/// A place in the log, as text `<microseconds>-<id>`: what comes after it does not change with what
/// is added meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    pub(crate) at: UtcTime,
    pub(crate) id: i64,
}

/// A text that no page gave out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the cursor is not understood; pass the next_cursor of the page before, or none")]
pub struct CursorError;

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.at.micros(), self.id)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (at, id) = text.rsplit_once('-').ok_or(CursorError)?;
        let number = |text: &str| text.parse::<i64>().map_err(|_| CursorError);
        let cursor = Self {
            at: UtcTime::from_micros(number(at)?),
            id: number(id)?,
        };
        if cursor.to_string() == text {
            Ok(cursor)
        } else {
            Err(CursorError)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_out_is_taken() {
        for text in ["1-2", "-5-9", "0-0"] {
            assert_eq!(text.parse::<Cursor>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "-",
            "1",
            "1-",
            "01-2",
            "+1-2",
            "1-x",
            "99999999999999999999-1",
            "1-2 ",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text}");
        }
    }
}
