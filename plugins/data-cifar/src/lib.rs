//! Data sets cifar10 and cifar100.
