//! Text of nginx's configuration language: lines, blocks, maps, quoting.

/// Comments are wrapped at this column.
const WIDTH: usize = 110;

/// A configuration as it grows.
#[derive(Debug, Default)]
pub(super) struct Writer {
    text: String,
    depth: usize,
}

impl Writer {
    pub(super) fn line(&mut self, text: impl AsRef<str>) {
        let indent = self.depth * 4;
        self.text.push_str(&format!("{:indent$}{}\n", "", text.as_ref()));
    }

    pub(super) fn blank(&mut self) {
        self.text.push('\n');
    }

    /// A comment of as many lines as it takes.
    pub(super) fn comment(&mut self, text: &str) {
        self.comment_behind("# ", text);
    }

    /// An entry of a list, in a comment.
    pub(super) fn comment_item(&mut self, text: &str) {
        self.comment_behind("#  - ", text);
    }

    fn comment_behind(&mut self, first: &str, text: &str) {
        let rest = format!("#{:1$}", "", first.len() - 1);
        let mut line = first.to_owned();
        let mut is_empty = true;
        for word in text.split_whitespace() {
            if !is_empty && self.depth * 4 + line.len() + 1 + word.len() > WIDTH {
                self.line(line.trim_end());
                line.clone_from(&rest);
                is_empty = true;
            }
            if !is_empty {
                line.push(' ');
            }
            line.push_str(word);
            is_empty = false;
        }
        self.line(line.trim_end());
    }

    pub(super) fn block(&mut self, head: &str, inside: impl FnOnce(&mut Self)) {
        self.line(format!("{head} {{"));
        self.depth += 1;
        inside(self);
        self.depth -= 1;
        self.line("}");
    }

    /// A variable that is `default` unless one of the keys fits; regular expressions are tried in their order.
    pub(super) fn map<K: AsRef<str>, V: AsRef<str>>(
        &mut self,
        source: &str,
        variable: &str,
        default: &str,
        entries: impl IntoIterator<Item = (K, V)>,
    ) {
        self.block(&format!("map {source} {variable}"), |w| {
            w.line(format!("default {default};"));
            for (key, value) in entries {
                w.line(format!("{} {};", quoted(key.as_ref()), value.as_ref()));
            }
        });
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}

/// A text in quotes, as nginx reads it back. What it would take for a variable stays one.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    let mut rest = text.chars().peekable();
    while let Some(character) = rest.next() {
        match character {
            '"' => quoted.push_str("\\\""),
            // Before any other character a backslash stands for itself, and expressions are easier to read so.
            '\\' if matches!(rest.peek(), None | Some('"' | '\'' | '\\' | 't' | 'r' | 'n')) => {
                quoted.push_str("\\\\");
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

/// A text of the policy's, in quotes: no part of it is a variable. nginx knows no escape for a dollar.
pub(super) fn verbatim(text: &str) -> String {
    quoted(text).replace('$', "${dollar}")
}

/// A text as a part of a regular expression.
pub(super) fn literal(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if !(character.is_ascii_alphanumeric() || "-_~/%:@!&',= ".contains(character)) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_read_back_as_it_was() {
        assert_eq!(quoted(r#"~^/a\.b "c"$"#), r#""~^/a\.b \"c\"$""#);
        assert_eq!(quoted(r"\\token\t"), r#""\\\\token\\t""#);
        assert_eq!(verbatim("5 $"), "\"5 ${dollar}\"");
    }

    #[test]
    fn a_long_comment_is_wrapped_and_indented() {
        let mut writer = Writer::default();
        writer.block("http", |w| w.comment_item(&"word ".repeat(30)));
        let text = writer.finish();
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().nth(2).is_some_and(|line| line.starts_with("    #    word")), "{text}");
    }
}
