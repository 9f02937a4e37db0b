//! A library with flipped bits is refused, whatever the bits mean; the loader never sees it.

use std::collections::BTreeSet;
use std::path::Path;

use crate::crates::library;
use crate::support::{Playground, Ran};

const SEED: u64 = 20_261_201;
const FLIPS: usize = 500;

/// The part of an ELF file where the headers of its segments lie, and that where its dynamic section lies.
fn headers_and_dynamic_section(bytes: &[u8]) -> [std::ops::Range<usize>; 2] {
    let number =
        |at: usize, size: usize| (0..size).rev().fold(0, |sum, byte| sum * 256 + usize::from(bytes[at + byte]));
    let (start, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    // A segment's kind comes first; its place and size in the file are its second and fifth long number.
    let dynamic =
        (0..count).map(|at| start + at * size).find(|&header| number(header, 4) == 2).expect("a dynamic section");
    let place = number(dynamic + 8, 8);
    [start..start + size * count, place..place + number(dynamic + 32, 8)]
}

/// Different bits to flip: a fifth anywhere, two fifths in the headers, two in the dynamic section.
fn bits(bytes: &[u8]) -> BTreeSet<usize> {
    let [headers, dynamic] = headers_and_dynamic_section(bytes);
    let parts = [0..bytes.len(), headers.clone(), headers, dynamic.clone(), dynamic];
    let mut chosen = BTreeSet::new();
    for (draw, part) in parts.iter().cycle().enumerate() {
        if chosen.len() == FLIPS {
            break;
        }
        let number = mrpf_host::files::sha256(format!("{SEED} {draw}").as_bytes());
        let number = usize::from_str_radix(&number[..12], 16).expect("hexadecimal digits");
        chosen.insert(part.start * 8 + number % (part.len() * 8));
    }
    chosen
}

#[test]
fn a_library_with_a_flipped_bit_is_always_refused() {
    let whole = std::fs::read(library("redundancy")).expect("a library");
    if !whole.starts_with(b"\x7fELF\x02") {
        return;
    }
    let playground = Playground::new();
    let flipped = |bit: usize| {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    };
    let bits = bits(&whole);
    assert_eq!(bits.len(), FLIPS);

    // All of them in a searched folder, where one that is refused stops nothing.
    let folder = playground.path("damaged");
    std::fs::create_dir(&folder).expect("a folder");
    for &bit in &bits {
        std::fs::write(folder.join(format!("bit-{bit}.so")), flipped(bit)).expect("a file");
    }
    let arguments = ["plugins", "list"];
    let output = playground.command(&arguments).env("MRPF_PLUGIN_PATH", &folder).output().expect("it starts");
    let ran = Ran::new(&arguments, output).ok();
    for bit in &bits {
        assert!(ran.stdout.contains(&format!("bit-{bit}.so: ")), "seed {SEED}: bit {bit} was taken");
    }

    // And one by one, for the exit code.
    for &bit in bits.iter().step_by(10) {
        std::fs::write(playground.path("one.so"), flipped(bit)).expect("a file");
        let ran = playground.mrpf(&["plugins", "list", "--plugin", "one.so"]);
        assert_eq!(ran.code, Some(6), "seed {SEED}: bit {bit}: {}", ran.stderr);
        ran.fails(6, &["plugin library one.so: "]);
    }
}

#[test]
fn a_change_outside_headers_and_manifest_is_told_as_damage() {
    let playground = Playground::new();
    let mut bytes = std::fs::read(library("redundancy")).expect("a library");
    *bytes.last_mut().expect("bytes") ^= 1;
    std::fs::write(playground.path("changed.so"), bytes).expect("a file");
    let ran = playground.mrpf(&["plugins", "list", "--plugin", "changed.so"]);
    ran.fails(
        6,
        &["changed.so: the file is damaged: its bytes are not those that it was built with", "mrpf plugins build"],
    );
}

#[test]
fn a_library_that_mrpf_did_not_build_has_no_digest() {
    let playground = Playground::new();
    let mut bytes = std::fs::read(library("redundancy")).expect("a library");
    for place in mrpf_api::export::digest_places(&bytes) {
        bytes[place].copy_from_slice(mrpf_api::export::UNSEALED.as_bytes());
    }
    std::fs::write(playground.path("linked.so"), bytes).expect("a file");
    let ran = playground.mrpf(&["plugins", "list", "--plugin", "linked.so"]);
    ran.fails(6, &["linked.so: it has no digest, by which damage could be told", "mrpf plugins build"]);
    let path = playground.path("linked.so");
    mrpf_host::plugin_library::seal(Path::new(&path)).expect("it is sealed");
    playground.mrpf(&["plugins", "list", "--plugin", "linked.so"]).ok();
}
