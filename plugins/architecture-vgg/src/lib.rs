//! Architecture vgg.
