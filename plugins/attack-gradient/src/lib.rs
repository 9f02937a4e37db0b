//! Attacks fgsm and pgd.
