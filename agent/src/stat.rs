//! `/proc/PID/stat`.

/// A process's name, and the fields behind it, of which the first is the third of proc(5). The name stands in parentheses
/// and may hold anything, but nothing after it holds one.
pub fn parse(text: &[u8]) -> Option<(&[u8], Vec<&str>)> {
    let (from, to) = (text.iter().position(|byte| *byte == b'(')?, text.iter().rposition(|byte| *byte == b')')?);
    let fields = std::str::from_utf8(&text[to + 1..]).ok()?.split_ascii_whitespace().collect();
    Some((text.get(from + 1..to)?, fields))
}
