//! The plugins that are part of the program: the one list to add a plugin crate to.

use mrpf_allocation_global as _;
use mrpf_allocation_sensitivity as _;
use mrpf_allocation_uniform as _;
use mrpf_architecture_densenet as _;
use mrpf_architecture_mobilenet_v2 as _;
use mrpf_architecture_mobilevit as _;
use mrpf_architecture_preact_resnet as _;
use mrpf_architecture_resnet as _;
use mrpf_architecture_vgg as _;
use mrpf_architecture_wide_resnet as _;
use mrpf_attack_gradient as _;
use mrpf_criterion_magnitude as _;
use mrpf_criterion_random as _;
use mrpf_data_cifar as _;
use mrpf_data_digits as _;
use mrpf_data_images as _;
use mrpf_data_mnist as _;
use mrpf_data_svhn as _;
use mrpf_schedule_standard as _;
use mrpf_sensitivity_mrs as _;
use mrpf_trainer_pgd_at as _;
use mrpf_trainer_standard as _;
use mrpf_trainer_trades as _;
