//! The report of a period as a message shows it: plain text with columns. Chats read only parts of Markdown.

use super::text::clean_text;

/// The characters that [`fenced`] adds.
pub(super) const FENCE: usize = 8;

/// Text in letters of one width, as the Markdown of chats has it.
pub(super) fn fenced(text: &str) -> String {
    format!("```\n{}\n```", text.replace("```", "'''"))
}

/// The report as plain text. Its tables become columns, and the marks of Markdown go.
pub(super) fn columns(markdown: &str) -> String {
    let (mut text, mut table) = (String::new(), Vec::new());
    for line in markdown.lines() {
        if let Some(row) = line.strip_prefix('|') {
            table.push(cells(row));
            continue;
        }
        draw(&mut text, &std::mem::take(&mut table));
        let line = if line.starts_with('#') { line.trim_start_matches('#').trim_start() } else { line };
        text.push_str(&cells(line).concat());
        text.push('\n');
    }
    draw(&mut text, &table);
    clean_text(text.trim_end())
}

/// The cells of a row, without the marks of Markdown.
fn cells(row: &str) -> Vec<String> {
    let (mut cells, mut cell) = (Vec::new(), String::new());
    let mut chars = row.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => cell.extend(chars.next()),
            '|' => cells.push(std::mem::take(&mut cell).trim().to_owned()),
            '`' | '*' => {}
            c => cell.push(c),
        }
    }
    if !cell.trim().is_empty() {
        cells.push(cell);
    }
    cells
}

/// Writes the rows of a table, of which the second one says on which side of its column a cell stands.
fn draw(text: &mut String, rows: &[Vec<String>]) {
    let [head, sides, body @ ..] = rows else { return };
    let rows = || std::iter::once(head).chain(body);
    let width = |column: usize| {
        let lengths = rows().filter_map(|row| Some(row.get(column)?.chars().count()));
        lengths.max().unwrap_or_default()
    };
    let widths: Vec<usize> = (0..sides.len()).map(width).collect();
    for row in rows() {
        let cells = row.iter().zip(sides).zip(&widths);
        let cells = cells.map(|((cell, side), &width)| match side.ends_with(':') {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_become_columns_and_names_stay_as_they_are() {
        let markdown = "# Noise\n\nPages: `▁█`\n\n| Rule | Pages | Trend |\n| --- | ---: | --- |\n\
                        | Disk\\_Full | 12 | `▁█` |\n| a\\|b | 3 | – |\n\n*Pages* counts.\n";
        let text = "Noise\n\nPages: ▁█\n\nRule       Pages  Trend\nDisk_Full     12  ▁█\na|b            3  –\n\n\
                    Pages counts.";
        assert_eq!(columns(markdown), text);
        assert_eq!(columns("| A |\n| --- |\n| b |"), "A\nb");
        assert_eq!(fenced("a```b"), "```\na'''b\n```");
    }
}
