//! Tables as text (RFC 4180), for people who open them in a spreadsheet.

/// One line. What a spreadsheet would take for a formula gets an apostrophe before it (OWASP, CSV injection): names of models and services
/// are said by others.
pub(crate) fn line<'a>(cells: impl IntoIterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for (position, cell) in cells.into_iter().enumerate() {
        if position > 0 {
            text.push(',');
        }
        let is_formula = cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']);
        let needs_quotes = is_formula || cell.contains([',', '"', '\r', '\n']);
        if needs_quotes {
            text.push('"');
            text.extend(is_formula.then_some('\''));
            text.push_str(&cell.replace('"', "\"\""));
            text.push('"');
        } else {
            text.push_str(cell);
        }
    }
    text.push_str("\r\n");
    text
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_cell_is_read_as_it_was_and_never_as_a_formula() {
        assert_eq!(line(["a", "", "b c"]), "a,,b c\r\n");
        assert_eq!(line(["a,b", "say \"x\"", "two\nlines"]), "\"a,b\",\"say \"\"x\"\"\",\"two\nlines\"\r\n");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"] {
            assert_eq!(line([formula]), format!("\"'{formula}\"\r\n"));
        }
        assert_eq!(line(["=\"x\",1"]), "\"'=\"\"x\"\",1\"\r\n");
    }
}
