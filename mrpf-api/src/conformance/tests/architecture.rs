//! Broken architectures are found out.

use super::*;

impl Architecture for Broken {
    fn declare(&self, request: &ArchitectureRequest) -> Result<Declaration> {
        if self.is("refuses all") {
            return Err(Error::new(ErrorKind::Declaration, "the images are too small"));
        }
        let classes = if self.is("other classes") { request.classes + 1 } else { request.classes };
        let width = if self.is("unseeded") { 4 + (MADE.fetch_add(1, Ordering::SeqCst) % 64) as usize } else { 4 };
        let mut net = Builder::new("broken", request.input, classes);
        net.normalize("normalize", &request.mean, &request.std);
        if !self.is("nothing to prune") {
            net.conv("conv", width, ConvGeometry::same3(), false).batch_norm("bn").relu("relu");
        }
        net.global_avg_pool("pool").linear("out", classes).finish()
    }
}

#[test]
fn architectures() -> Result<()> {
    let fits = "the network takes the images and classes that were asked for";
    let prunes = "some of its channels can be pruned, and the cut network is the masked one";
    assert_broken(
        Kind::Architecture,
        "broken-architecture",
        &[
            ("refuses all", &["it declares a network for some images, and says why not for others"]),
            ("unseeded", &["the same request gives the same declaration"]),
            ("nothing to prune", &[prunes]),
            ("other classes", &[fits, "its logits are finite"]),
        ],
    )
}
