use super::*;
use crate::event::{Event, EventSink};
use mrpf_api::Result;
use mrpf_api::data::{ImageSet, ImageShape};

/// Four training and three test images of 2x2 grey pixels, with every kind of duplicate.
fn data() -> Result<LoadedData> {
    let shape = ImageShape { channels: 1, height: 2, width: 2 };
    let set = |shades: &[u8], labels: &[u32]| {
        let pixels = shades.iter().flat_map(|&shade| [shade, 0, shade, 16]).collect();
        ImageSet::new(shape, pixels, 16, labels.to_vec(), 2)
    };
    Ok(LoadedData {
        train: set(&[1, 2, 1, 9], &[0, 1, 0, 1])?,
        test: set(&[9, 9, 4], &[1, 0, 1])?,
        class_names: vec!["hollow".into(), "full".into()],
        mean: vec![0.25],
        std: vec![0.4],
        mirror_keeps_class: false,
    })
}

#[test]
fn equal_images_are_found_within_and_across() -> Result<()> {
    let found = Duplicates::find(&data()?.train, &data()?.test);
    let expected = Duplicates {
        within_train: 1,
        within_test: 1,
        across: 2,
        across_examples: vec![[3, 0], [3, 1]],
        contradictions: 1,
    };
    assert_eq!(found, expected);
    Ok(())
}

#[test]
fn the_text_for_people() -> Result<()> {
    insta::assert_snapshot!(as_text(&DataCheck::new("toy", &data()?, Told::default())));
    Ok(())
}

#[test]
fn what_the_data_set_tells_and_classes_without_images_come_first() -> Result<()> {
    let mut data = data()?;
    data.test = data.test.subset(&[0, 2]);
    let told = Told::default();
    for (is_warning, message) in
        [(false, "training images from `Train`"), (true, "20 files ending in .heic are not read")]
    {
        let (about, message) = ("data set `toy`".into(), message.into());
        told.send(if is_warning { Event::Warning { about, message } } else { Event::Note { about, message } });
    }
    let text = as_text(&DataCheck::new("toy", &data, told));
    let lines: Vec<&str> = text.lines().take(5).collect();
    let expected = [
        "data set `toy`: 4 images to train with and 2 to test with, 2x2 grey, 2 classes",
        "training images from `Train`",
        "warning: 20 files ending in .heic are not read",
        "warning: class `hollow` has no test images",
        "",
    ];
    assert_eq!(lines, expected);
    Ok(())
}

#[test]
fn of_many_classes_the_first_are_listed() -> Result<()> {
    let shape = ImageShape { channels: 3, height: 1, width: 1 };
    let labels: Vec<u32> = (0..30).collect();
    let set = ImageSet::new(shape, (0..90).collect(), 255, labels, 30)?;
    let class_names = (0..30).map(|class| format!("class {class}")).collect();
    let (mean, std) = (vec![0.17; 3], vec![0.1; 3]);
    let data = LoadedData { train: set.clone(), test: set, class_names, mean, std, mirror_keeps_class: true };
    let text = as_text(&DataCheck::new("many", &data, Told::default()));
    assert!(
        text.contains("... and 5 more; --json lists all") && text.contains("train: 1 image of every class"),
        "{text}"
    );
    Ok(())
}

#[test]
fn the_contact_sheet_shows_each_class_in_a_row() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let sheet = image::load_from_memory(&contact_sheet(&data()?)?)?.to_rgb8();
    // Each pixel is enlarged to 16x16; 15 columns and a wider gap; two rows.
    assert_eq!(sheet.dimensions(), (15 * 34 + 12 + 2, 2 * 34 + 2));
    let grey = |x: u32, y: u32| sheet.get_pixel(x, y).0[0];
    // Row 0: training images of shade 1, 1, then none. 1 of 16 is 15 of 255.
    assert_eq!([grey(2, 2), grey(36, 2), grey(70, 2), grey(2 + 16, 2 + 16)], [15, 15, 255, 255]);
    // Row 1: shades 2 and 9; to the right, behind the gap, the test images 9 and 4.
    let right = 2 + 10 * 34 + 12;
    assert_eq!([grey(2, 36), grey(36, 36), grey(right, 36), grey(right + 34, 36)], [31, 143, 143, 63]);
    Ok(())
}
