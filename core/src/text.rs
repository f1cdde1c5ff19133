//! Text that others wrote, made fit for conditions, Events and logs.

/// Longest foreign text that is shown, in bytes.
const MAX_FOREIGN_LENGTH: usize = 1024;

/// Foreign text as it may be shown: one line of at most 1 KiB without control characters. Every text
/// of an API server, a container, KubeVirt or a user's object passes through here on its way into a
/// condition, an Event or a log.
pub fn excerpt(foreign: &str) -> String {
    excerpt_of(foreign, MAX_FOREIGN_LENGTH)
}

/// The same with a limit of one's own, in bytes; the ellipsis of a text that was cut comes on top.
pub fn excerpt_of(foreign: &str, limit: usize) -> String {
    // What is far beyond the limit is not looked at.
    let mut shown = String::new();
    for word in foreign
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
    {
        let space = usize::from(!shown.is_empty());
        if shown.len() + space + word.len() > limit {
            let room = limit.saturating_sub(shown.len() + space);
            let end = (0..=room.min(word.len())).rev().find(|end| word.is_char_boundary(*end));
            if space == 1 && end > Some(0) {
                shown.push(' ');
            }
            shown.push_str(&word[..end.unwrap_or_default()]);
            shown.push('…');
            return shown;
        }
        if space == 1 {
            shown.push(' ');
        }
        shown.push_str(word);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_text_stays_as_it_is() {
        assert_eq!(
            excerpt("pods \"x\" is forbidden: quota"),
            "pods \"x\" is forbidden: quota"
        );
        assert_eq!(excerpt(""), "");
    }

    #[test]
    fn lines_and_control_characters_become_one_line() {
        assert_eq!(excerpt("a\r\n\tb\u{1b}[31mc\0d\n"), "a b [31mc d");
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        for text in ["x".repeat(40_000), "ü".repeat(40_000), "word ".repeat(10_000)] {
            let shown = excerpt(&text);
            assert!(
                shown.len() <= MAX_FOREIGN_LENGTH + '…'.len_utf8(),
                "{} bytes",
                shown.len()
            );
            assert!(shown.ends_with('…') && shown.len() > 900);
        }
    }
}
