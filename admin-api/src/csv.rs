//! Tables as text (RFC 4180), for people who open them in a spreadsheet.

/// What makes a spreadsheet calculate, at the beginning of a cell.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];
/// What some overlook at the beginning of a cell, and others take for the end of one: a semicolon where numbers have a comma in them. They see no
/// quotes then that would hold it together.
const GAPS: [char; 4] = [';', '\t', '\r', '\n'];

/// One line. What a spreadsheet would take for a formula gets an apostrophe before it (OWASP, CSV injection), also where it takes something
/// else than a comma for a cell's end: names of models and services are said by others.
pub(crate) fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (position, cell) in cells.into_iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        if cell.starts_with(FORMULA) || cell.contains([',', '"']) || cell.contains(GAPS) {
            push_quoted(&mut text, cell);
        } else {
            text.push_str(cell);
        }
    }
    text.push_str("\r\n");
    text
}

fn push_quoted(text: &mut String, cell: &str) {
    text.push('"');
    text.extend(cell.starts_with(['\t', '\r', '\n']).then_some('\''));
    let mut is_beginning = true;
    for letter in cell.chars() {
        text.extend((is_beginning && FORMULA.contains(&letter)).then_some('\''));
        text.extend((letter == '"').then_some('"'));
        text.push(letter);
        // Quotes after a gap open and close there, and what follows begins the cell.
        is_beginning = GAPS.contains(&letter) || (is_beginning && letter == '"');
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_cell_is_read_as_it_was_and_never_as_a_formula() {
        assert_eq!(line(["a", "", "b c"]), "a,,b c\r\n");
        assert_eq!(line(["a,b", "say \"x\"", "two\nlines"]), "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\r\n");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\ta", "\ra", "\na"] {
            assert_eq!(line([formula]), format!("\"'{formula}\"\r\n"));
        }
        assert_eq!(line(["=\"x\",1"]), "\"'=\"\"x\"\",1\"\r\n");
    }

    #[test]
    fn nor_is_what_comes_after_something_that_ends_a_cell_elsewhere() {
        for (cell, expected) in [
            ("a;=1+1", "a;'=1+1"),
            ("a;b;-1", "a;b;'-1"),
            ("a;+1;@b", "a;'+1;'@b"),
            ("a\t=1", "a\t'=1"),
            ("a\r\n=1", "a\r\n'=1"),
            ("\t=1", "'\t'=1"),
            ("a;\"=1\"", "a;\"\"'=1\"\""),
            ("a;b=1-1", "a;b=1-1"),
        ] {
            assert_eq!(line(["x", cell]), format!("x,\"{expected}\"\r\n"));
        }
        assert_eq!(line(["a-b=c", "a -b"]), "a-b=c,a -b\r\n");
    }
}
