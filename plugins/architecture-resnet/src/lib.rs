//! Architecture resnet.
