//! `templates`: the files of templates.

use std::path::Path;

use crate::outside;
use crate::settings::section::{Problems, Section, Text, shown};
use crate::templates::{Library, TemplateFile};

/// The largest file of a configuration, in bytes.
pub const MAX_FILE: u64 = 10 * 1024 * 1024;

/// The most files.
const MOST_FILES: usize = 1_000;

/// Reads the files that `templates` names, relative to the folder. A pattern that no file matches is right,
/// as in Alertmanager: the files may come later.
pub(super) fn read(top: &mut Section<'_>, base: &Path) {
    let patterns = top.texts("templates").unwrap_or_default();
    let mut sources = Vec::new();
    for pattern in &patterns {
        sources.extend(matching(*pattern, base, top.problems));
    }
    if sources.len() > MOST_FILES {
        let message = format!("templates names {} files. Write at most {MOST_FILES}", sources.len());
        top.problems.add(top.line_of("templates"), message);
        return;
    }
    if sources.is_empty() {
        return;
    }
    match Library::with_files(&sources) {
        Ok(library) => top.problems.set_library(library),
        Err(all) => {
            let line = top.line_of("templates");
            all.into_iter().for_each(|wrong| top.problems.add(line, format!("templates: {wrong}")));
        }
    }
}

fn matching(pattern: Text<'_>, base: &Path, problems: &Problems) -> Vec<TemplateFile> {
    let files = match outside::glob(&base.join(pattern.text)) {
        Ok(files) => files,
        Err(why) => {
            problems.add(pattern.line, format!("templates: pattern {}: {why}", shown(pattern.text)));
            return Vec::new();
        }
    };
    let read = |file: &std::path::PathBuf| {
        let bytes = outside::read(file, MAX_FILE).map_err(|e| e.to_string())?;
        String::from_utf8(bytes.to_vec()).map_err(|_| "is not UTF-8. Save it as UTF-8".to_owned())
    };
    let source = |file: std::path::PathBuf| match read(&file) {
        Ok(text) => Some(TemplateFile { file: file.display().to_string().into(), text: text.into() }),
        Err(why) => {
            problems.add(pattern.line, format!("templates: {} {why}", file.display()));
            None
        }
    };
    files.into_iter().filter_map(source).collect()
}
