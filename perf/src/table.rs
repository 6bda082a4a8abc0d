//! A table of text, as wide as it must be.

/// Lays out a head and rows: the first column to the left, the others to the right, the last, which may be long, as
/// it is.
pub(crate) fn lay_out(head: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let head: Vec<String> = head.iter().map(|&name| name.to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| match column {
            0 => format!("{cell:<width$}"),
            last if last + 1 == widths.len() => cell.clone(),
            _ => format!("{cell:>width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    std::iter::once(&head).chain(rows).map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows =
            [vec!["a".into(), "1000".into(), "x".into()], vec!["bcd".into(), "2".into(), String::new()]];
        assert_eq!(lay_out(&["n", "size", "why"], &rows), ["n    size  why", "a    1000  x", "bcd     2"]);
    }
}
