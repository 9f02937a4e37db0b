//! The text of `mrpf data check`.

use comfy_table::Table;
use comfy_table::presets::NOTHING;
use std::fmt::Write;

use super::DataCheck;
use crate::safe_text::one_line;

/// Classes that are listed one by one; of more, the first ones.
const LISTED: usize = 25;

/// What was found, for people.
pub fn as_text(check: &DataCheck) -> String {
    let [channels, height, width] = check.shape;
    let colour = match channels {
        1 => "grey".to_owned(),
        3 => "colour".to_owned(),
        other => format!("with {other} channels"),
    };
    let mut text = format!(
        "data set `{}`: {} images to train with and {} to test with, {height}x{width} {colour}, {} classes\n",
        check.name,
        check.train,
        check.test,
        check.classes.len()
    );
    check.notes.iter().for_each(|note| text.push_str(&format!("{note}\n")));
    check.warnings.iter().for_each(|warning| text.push_str(&format!("warning: {warning}\n")));
    text.push('\n');
    classes(check, &mut text);
    pixels(check, &mut text);
    duplicates(check, &mut text);
    let mirrored = if check.mirror_keeps_class {
        "keeps its class: training mirrors"
    } else {
        "may change its class: training does not mirror"
    };
    let _ = write!(text, "\na mirrored image {mirrored} images unless told otherwise");
    text
}

fn classes(check: &DataCheck, text: &mut String) {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.add_row(["label", "class", "train", "test"]);
    for (label, class) in check.classes.iter().take(LISTED).enumerate() {
        let name = one_line(&class.name).into_owned();
        table.add_row([label.to_string(), name, class.train.to_string(), class.test.to_string()]);
    }
    for line in table.lines() {
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if check.classes.len() > LISTED {
        let _ = writeln!(text, "   ... and {} more; --json lists all", check.classes.len() - LISTED);
    }
    for (part, count) in [("train", train as fn(&_) -> _), ("test", test)] {
        let counts = check.classes.iter().map(|class| (count(class), class.name.as_str()));
        let (fewest, most) = (counts.clone().min(), counts.max());
        if let (Some((fewest, name)), Some((most, other))) = (fewest, most) {
            let _ = match fewest == most {
                true => writeln!(text, "{part}: {} of every class", images(fewest)),
                false => writeln!(
                    text,
                    "{part}: from {} (`{}`) to {most} (`{}`)",
                    images(fewest),
                    one_line(name),
                    one_line(other)
                ),
            };
        }
    }
}

/// `1 image`, `2 images`.
fn images(count: usize) -> String {
    format!("{count} image{}", if count == 1 { "" } else { "s" })
}

fn train(class: &super::ClassCount) -> usize {
    class.train
}

fn test(class: &super::ClassCount) -> usize {
    class.test
}

fn pixels(check: &DataCheck, text: &mut String) {
    let list = |value: fn(&super::ChannelStatistics) -> f64| {
        check.channels.iter().map(|channel| format!("{:.4}", value(channel))).collect::<Vec<_>>().join(" ")
    };
    let _ =
        writeln!(text, "\nmean {} of the training pixels, {} declared", list(|c| c.mean), list(|c| c.declared_mean));
    let _ = writeln!(text, "deviation {}, {} declared", list(|c| c.std), list(|c| c.declared_std));
    let differs = |channel: &super::ChannelStatistics| {
        (channel.mean - channel.declared_mean).abs() > 0.05 || (channel.std - channel.declared_std).abs() > 0.05
    };
    if check.channels.iter().any(differs) {
        let _ = writeln!(
            text,
            "warning: they differ by more than 0.05: these are not the images of that name, or few of them"
        );
    }
}

fn duplicates(check: &DataCheck, text: &mut String) {
    let found = &check.duplicates;
    let _ = writeln!(
        text,
        "\nequal images: {} within train, {} within test, {} in both",
        found.within_train, found.within_test, found.across
    );
    if found.across > 0 {
        let pairs: Vec<String> = found.across_examples.iter().map(|[a, b]| format!("train {a} = test {b}")).collect();
        let more = if found.across > pairs.len() { ", ..." } else { "" };
        let _ = writeln!(
            text,
            "warning: test images that were trained on say nothing of the network: {}{more}",
            pairs.join(", ")
        );
    }
    if found.contradictions > 0 {
        let _ = writeln!(text, "warning: {} equal images have different labels", found.contradictions);
    }
}
