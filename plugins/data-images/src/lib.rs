//! Data sets that are folders of image files: `tiny-imagenet` and `image-folder`.
//!
//! Both list their files (`listing`), decode them in parallel (`decode`), and keep what was decoded in a file beside them
//! (`cache`), so that the next run does not decode them again.

mod cache;
mod decode;
mod image_folder;
mod layout;
mod listing;
mod load;
mod passed_over;
mod tiny_imagenet;
mod walk;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
