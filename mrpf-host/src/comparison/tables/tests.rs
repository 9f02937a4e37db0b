//! What people and programs read, as snapshots; the same bytes for the same findings.

use mrpf_api::Result;

use super::*;
use crate::comparison::sample::{sample, sample_with_a_failure};
use crate::results::Results;

fn document(findings: &Findings) -> Result<document::Document> {
    report::report(findings, &Statistics::of(findings))
}

#[test]
fn the_report() -> Result<()> {
    insta::assert_snapshot!(markdown::markdown(&document(&sample_with_a_failure()?)?));
    Ok(())
}

#[test]
fn the_report_in_latex() -> Result<()> {
    insta::assert_snapshot!(latex::latex(&document(&sample_with_a_failure()?)?));
    Ok(())
}

#[test]
fn the_table_for_the_terminal() -> Result<()> {
    insta::assert_snapshot!(comparison_table(&sample_with_a_failure()?));
    Ok(())
}

#[test]
fn the_rows_as_csv() -> Result<()> {
    let findings = sample_with_a_failure()?;
    let flat = FlatTable::new(&findings, &Statistics::of(&findings));
    insta::assert_snapshot!(String::from_utf8_lossy(&csv::csv(&flat)?));
    Ok(())
}

#[test]
fn a_reader_of_a_runs_results_reads_a_comparisons_too() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let findings = sample_with_a_failure()?;
    let results = ComparisonResults::new(&findings, &Statistics::of(&findings));
    let text = serde_json::to_string(&results)?;
    assert_eq!(serde_json::from_str::<ComparisonResults>(&text)?, results);
    let of_a_run: Results = serde_json::from_str(&text)?;
    let rows: Vec<_> = results.rows.iter().map(|row| row.row.clone()).collect();
    assert_eq!((of_a_run.rows, of_a_run.epsilon.as_str()), (rows, "0.1"));
    let json: serde_json::Value = serde_json::from_str(&text)?;
    for part in ["rows", "statistics", "failures", "versions"] {
        assert!(!json[part].is_null(), "{part}");
    }
    Ok(())
}

#[test]
fn the_same_findings_give_the_same_bytes() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let files = ["report.md", "report.tex", "results.csv", "results.json"];
    let written = |at: &str| -> std::result::Result<Vec<Vec<u8>>, Box<dyn std::error::Error>> {
        let directory = folder.path().join(at);
        write_results(&sample_with_a_failure()?, &directory)?;
        Ok(files.iter().map(|file| std::fs::read(directory.join(file))).collect::<std::io::Result<_>>()?)
    };
    let first = written("a")?;
    assert_eq!(first, written("b")?);
    for (file, bytes) in files.iter().zip(&first) {
        let text = String::from_utf8_lossy(bytes);
        assert!(text.contains("memory ran out"), "{file} tells the failure");
        assert!(!text.contains(&*folder.path().to_string_lossy()), "{file} tells no folder");
    }
    Ok(())
}

#[test]
fn a_failure_stands_below_every_table() -> Result<()> {
    let (whole, broken) = (document(&sample()?)?, document(&sample_with_a_failure()?)?);
    let notes = |document: &document::Document| -> Vec<usize> {
        let of = |block: &document::Block| match block {
            document::Block::Table(table) => Some(table.notes.len()),
            _ => None,
        };
        document.blocks.iter().filter_map(of).collect()
    };
    assert_eq!((notes(&whole), notes(&broken)), (vec![0; 5], vec![1; 5]));
    Ok(())
}

#[test]
fn names_stay_in_their_cells_and_lines_in_the_terminal() -> Result<()> {
    let mut findings = sample_with_a_failure()?;
    let long = "a|b & c_d % \\e ~ ^ {f} [g] ".repeat(6);
    for finding in &mut findings.pruned {
        if finding.place.method == "l1-norm-uniform" {
            finding.place.method.clone_from(&long);
        }
    }
    findings.methods[1].clone_from(&long);
    findings.failures[0].reason = "first line\nsecond | line with \\commands".repeat(5);
    let document = document(&findings)?;
    let markdown = markdown::markdown(&document);
    assert!(markdown.contains("a\\|b & c_d"), "{markdown}");
    for line in markdown.lines().filter(|line| line.starts_with('|')) {
        let cells = line.replace("\\|", "").matches('|').count();
        assert!([6, 7, 11].contains(&cells), "{cells}: {line}");
    }
    let latex = latex::latex(&document);
    assert!(
        latex.contains("a|b \\& c\\_d \\% \\textbackslash{}e \\textasciitilde{} \\textasciicircum{} \\{f\\} {[}g]")
    );
    let terminal = comparison_table(&findings);
    assert!(terminal.lines().all(|line| line.chars().count() <= 100), "{terminal}");
    Ok(())
}

#[test]
fn pruned_networks_are_shown_where_the_dense_one_could_not_be_attacked()
-> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut findings = sample()?;
    findings.dense.clear();
    findings.pruned.iter_mut().for_each(|pruned| pruned.dense = None);
    let statistics = Statistics::of(&findings);
    let methods: Vec<_> = statistics.settings.iter().flat_map(|setting| &setting.methods).collect();
    assert!(!methods.is_empty());
    assert!(methods.iter().all(|method| method.robust.mean > 0.0 && method.robust_drop.is_none()));
    let folder = tempfile::tempdir()?;
    write_results(&findings, folder.path())?;
    crate::comparison::write_page(&findings, folder.path(), folder.path())?;
    let results: serde_json::Value = serde_json::from_slice(&std::fs::read(folder.path().join("results.json"))?)?;
    let rows = results["rows"].as_array().ok_or("rows")?;
    assert!(rows.len() == findings.pruned.len() && rows.iter().all(|row| row["dense"].is_null()), "{results}");
    Ok(())
}

#[test]
fn an_empty_comparison_has_its_files_too() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut findings = sample_with_a_failure()?;
    findings.pruned.clear();
    findings.dense.clear();
    findings.failures[0].places.clear();
    let folder = tempfile::tempdir()?;
    write_results(&findings, folder.path())?;
    assert!(comparison_table(&findings).contains("memory ran out"));
    assert!(std::fs::read_to_string(folder.path().join("report.md"))?.contains("memory ran out"));
    Ok(())
}
