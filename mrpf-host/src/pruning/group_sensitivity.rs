//! From the sensitivities of modules to those of channel groups.

use mrpf_api::coupling::ChannelGroup;
use mrpf_api::sensitivity::ModuleSensitivity;

use crate::experiment::Combine;

/// The sensitivity of each group, combined from the modules that produce its channels; `None` where no such module was measured.
///
/// Modules whose channels are coupled are pruned together, so one number has to stand for all of them.
pub fn group_sensitivities(
    groups: &[ChannelGroup],
    modules: &[ModuleSensitivity],
    combine: Combine,
) -> Vec<Option<f64>> {
    let of_group = |group: &ChannelGroup| {
        let values: Vec<f64> = group
            .producers()
            .filter_map(|producer| modules.iter().find(|module| module.module == producer.layer))
            .map(|module| module.value)
            .collect();
        match (values.is_empty(), combine) {
            (true, _) => None,
            (false, Combine::Max) => values.iter().copied().reduce(f64::max),
            (false, Combine::Mean) => Some(values.iter().sum::<f64>() / values.len() as f64),
        }
    };
    groups.iter().map(of_group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use mrpf_api::coupling::{Member, Role};

    #[test]
    fn a_group_takes_the_largest_or_the_mean_of_its_producers() {
        let member = |layer: &str, role| Member {
            layer: layer.into(),
            tensor: format!("{layer}.weight"),
            role,
            axis: 0,
            positions: vec![vec![0]].into(),
        };
        let members = vec![member("a", Role::Output), member("b", Role::Output), member("c", Role::Input)];
        let group = ChannelGroup { name: "a".into(), channels: 1, members, frozen: None };
        let empty = ChannelGroup { name: "x".into(), channels: 1, members: Vec::new(), frozen: None };
        let modules: Vec<_> = [("a", 1.0), ("b", 3.0), ("c", 9.0)]
            .map(|(module, value)| ModuleSensitivity { module: module.into(), value })
            .into();
        let groups = [group, empty];
        assert_eq!(group_sensitivities(&groups, &modules, Combine::Max), [Some(3.0), None]);
        assert_eq!(group_sensitivities(&groups, &modules, Combine::Mean), [Some(2.0), None]);
    }
}
